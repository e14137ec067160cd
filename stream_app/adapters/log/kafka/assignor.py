"""Who gets which partitions: partition p of all topics goes to one member, and stays there if it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


class Owned(msgspec.Struct):
    """What a member tells of itself when it joins.

    Parameters
    ----------
    round
        Number of the assignment that it tells of; larger ones are newer.
    partitions
        Numbers of the partitions that it has.
    """

    round: int = 0
    partitions: list[int] = msgspec.field(default_factory=list)


def shared_out(count: int, owned: Mapping[str, Owned]) -> dict[str, list[int]]:
    """Share partition numbers out evenly, moving as few as that needs.

    Parameters
    ----------
    count
        Partitions `0 .. count-1`.
    owned
        For each member what it has; where two claim the same, the newer claim counts.

    Returns
    -------
    dict
        For each member its partitions, rising; sizes differ by at most one.

    Examples
    --------
    >>> shared_out(4, {"a": Owned(1, [0, 1, 2, 3]), "b": Owned()})
    {'a': [0, 1], 'b': [2, 3]}
    """
    members = sorted(owned)
    claims = _claims(count, owned)
    # Whoever has most may keep one more, where it does not divide.
    by_size = sorted(members, key=lambda member: (-len(claims[member]), member))
    least, more = divmod(count, len(members))
    shares = {member: claims[member][: least + (place < more)] for place, member in enumerate(by_size)}
    free = sorted(set(range(count)) - {each for share in shares.values() for each in share})
    for place, member in enumerate(by_size):
        missing = least + (place < more) - len(shares[member])
        shares[member] = sorted(shares[member] + free[:missing])
        free = free[missing:]
    return {member: shares[member] for member in members}


def _claims(count: int, owned: Mapping[str, Owned]) -> dict[str, list[int]]:
    claims: dict[str, list[int]] = {member: [] for member in owned}
    taken: set[int] = set()
    for member in sorted(owned, key=lambda member: (-owned[member].round, member)):
        claims[member] = sorted({each for each in owned[member].partitions if 0 <= each < count} - taken)
        taken |= set(claims[member])
    return claims


class CoPartitionAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Assigns partition p of all topics to one member.

    Faust's round robin gives events and ticks of one partition to different members, who then fence each other for
    ever. aiokafka's range keeps them together, but moves most partitions when a member comes or goes, and each move is
    a recovery. What a member has is kept in the class: aiokafka makes no instances, and a process is one member.
    """

    name: ClassVar[str] = "stream-app-co-partitioned"
    version: ClassVar[int] = 0
    _own: ClassVar[Owned] = Owned()

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Share out the partitions of all topics; called in the member that leads the group.

        A topic with fewer partitions than the others lies with the owners of the first ones: the learner with shard 0.
        """
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        told = {member: _told(metadata.user_data) for member, metadata in members.items()}
        latest = max(each.round for each in told.values())
        shares = shared_out(max(counts.values(), default=0), told)
        parts = {
            member: [(topic, [number for number in share if number < counts[topic]]) for topic in topics]
            for member, share in shares.items()
        }
        data = msgspec.json.encode(Owned(latest + 1))
        return {
            member: ConsumerProtocolMemberAssignment(cls.version, [part for part in parts[member] if part[1]], data)
            for member in members
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> Any:
        """Tell the group what this process has."""
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), msgspec.json.encode(cls._own))

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:
        """Keep what was assigned, to tell it at the next rebalance."""
        partitions = {number for _topic, numbers in assignment.assignment for number in numbers}
        cls._own = Owned(_told(assignment.user_data).round, sorted(partitions))


def _told(data: bytes | None) -> Owned:
    try:
        return msgspec.json.decode(data or b"{}", type=Owned)
    except msgspec.DecodeError:
        return Owned()
