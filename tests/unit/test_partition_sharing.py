"""Partitions are shared out evenly, together, and with as few moves as that needs."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.log.kafka.assignor import CoPartitionAssignor, Owned, shared_out

MEMBERS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(Owned, st.integers(0, 3), st.lists(st.integers(0, 20), max_size=12)),
    min_size=1,
)


class Cluster:
    """Knows how many partitions topics have."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


@given(st.integers(0, 16), MEMBERS)
def test_each_partition_has_one_owner_and_shares_differ_by_one_at_most(count: int, owned: dict[str, Owned]) -> None:
    shares = shared_out(count, owned)
    assert shares.keys() == owned.keys()
    assert sorted(each for share in shares.values() for each in share) == list(range(count))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert all(share == sorted(share) for share in shares.values())


@given(st.integers(0, 16), MEMBERS)
def test_sharing_out_again_moves_nothing(count: int, owned: dict[str, Owned]) -> None:
    shares = shared_out(count, owned)
    assert shared_out(count, {member: Owned(1, share) for member, share in shares.items()}) == shares


@given(st.integers(1, 16), st.integers(1, 6), st.data())
def test_when_a_member_leaves_only_its_partitions_move(count: int, members: int, data: st.DataObject) -> None:
    before = shared_out(count, {f"m{number}": Owned() for number in range(members + 1)})
    gone = data.draw(st.sampled_from(sorted(before)))
    after = shared_out(count, {member: Owned(1, share) for member, share in before.items() if member != gone})
    for member, share in after.items():
        assert set(before[member]) <= set(share)


@given(st.integers(1, 16), st.integers(1, 6))
def test_a_new_member_gets_its_share_and_nothing_else_moves(count: int, members: int) -> None:
    before = shared_out(count, {f"m{number}": Owned() for number in range(members)})
    after = shared_out(count, {"a": Owned()} | {member: Owned(1, share) for member, share in before.items()})
    assert len(after["a"]) == count // (members + 1)
    for member, share in before.items():
        assert set(after[member]) <= set(share)


def test_of_two_claims_the_newer_one_counts() -> None:
    assert shared_out(2, {"zombie": Owned(1, [0, 1]), "owner": Owned(2, [0])}) == {"owner": [0], "zombie": [1]}


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
def test_partitions_of_one_number_go_to_one_member_in_all_topics(members: int) -> None:
    topics = ["events", "ticks", "learner-input"]
    cluster = Cluster({"events": 4, "ticks": 4, "learner-input": 1})
    told = {f"m{number}": ConsumerProtocolMemberMetadata(0, topics, b"") for number in range(members)}
    assigned = CoPartitionAssignor.assign(cluster, told)
    shares = [{topic: numbers for topic, numbers in each.assignment} for each in assigned.values()]
    for share in shares:
        assert share.get("events") == share.get("ticks")
        assert share.get("learner-input") == ([0] if 0 in share.get("events", []) else None)
    assert sorted(each for share in shares for each in share.get("events", [])) == [0, 1, 2, 3]
    assert sum("learner-input" in share for share in shares) == 1


@pytest.mark.parametrize("data", [b"", b"\x00\x00\x00\x01", b"[]", b'{"round": "x"}'])
def test_what_another_assignor_has_told_is_no_claim(data: bytes) -> None:
    told = {"other": ConsumerProtocolMemberMetadata(0, ["events"], data)}
    assigned = CoPartitionAssignor.assign(Cluster({"events": 2}), told)
    assert [list(each) for each in assigned["other"].assignment] == [["events", [0, 1]]]


def test_a_member_tells_at_the_next_rebalance_what_it_was_given() -> None:
    told = {"m": CoPartitionAssignor.metadata(["events"])}
    CoPartitionAssignor.on_assignment(CoPartitionAssignor.assign(Cluster({"events": 3}), told)["m"])
    owned = msgspec.json.decode(CoPartitionAssignor.metadata(["events"]).user_data, type=Owned)
    assert owned.partitions == [0, 1, 2]
    assert owned.round >= 1
