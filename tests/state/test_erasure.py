"""Erasure: as if the customer had never been, in table, index, turns, histograms and populations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.domain.effects import Changes, Effects
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.identifiers import pack_ids, turns_of
from stream_app.domain.knowledge import Scoring
from stream_app.domain.rows import ERASED_TURN, is_erased
from stream_app.domain.table import CustomerTable
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from tests.equivalence.third_axis import ALL_SCORES, THIRD_AXIS
from tests.factories import make_batch, make_policy
from tests.outcomes import scaled
from tests.reference import ReferenceEvent
from tests.state.shards import make_table
from tests.state.shop import make_shop, purchases
from tests.strategies import CUSTOMER_IDS, Operation, Renewal, Stream, Switch, Tick, streams


class Twins:
    """An engine that has to forget a customer, beside one that never saw them."""

    def __init__(self, stream: Stream, erased_id: str) -> None:
        self.erased_id = erased_id
        self.forgetful, self.ignorant = (Engine(stream.policy, ALL_SCORES) for _ in range(2))
        self.learner = Learner(stream.policy, ALL_SCORES)
        self.is_erased = False

    def run(self, operation: Operation | list[ReferenceEvent]) -> None:
        """Do one thing in both, under the knowledge of the one that never saw the customer."""
        knowledge = self.learner.knowledge
        match operation:
            case list():
                own = [event for event in operation if self.is_erased or event.customer_id != self.erased_id]
                mine = self.forgetful.apply(make_batch(operation), knowledge)
                if own:
                    self.assert_same_changes(mine, self.ignorant.apply(make_batch(own), knowledge))
                elif self.ignorant.scoring_version == 0:
                    self.ignorant.scoring_version = knowledge.scoring.version
            case Tick(time_ms):
                effects = [engine.tick(time_ms, knowledge) for engine in (self.forgetful, self.ignorant)]
                self.assert_same_changes(*effects)
            case Renewal(time_ms):
                sketch = self.ignorant.full_sketch(knowledge.scoring, time_ms)
                self.learner.renew(time_ms, [self.ignorant.sketch()], [sketch])
            case Switch(time_ms, factor):
                scoring = Scoring(knowledge.scoring.version + 1, scaled(knowledge.scoring.weights, factor))
                self.learner.switch(time_ms, scoring, [self.ignorant.full_sketch(scoring, time_ms)])

    def assert_same_changes(self, mine: Effects, theirs: Effects) -> None:
        """Hold the changes of everybody else equal."""
        changes = mine.changes
        if not self.is_erased:
            changes = changes.take(changes.customer_ids != self.erased_id.encode())
        for name in Changes.__slots__:
            if name == "event_indices":
                continue
            left, right = getattr(changes, name), getattr(theirs.changes, name)
            if len(changes) or len(theirs.changes):
                assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name

    def erase(self, *, is_restored: bool) -> None:
        """Forget the customer, and start anew from what is stored or go on."""
        known = self.rows(self.forgetful)
        rows = self.forgetful.erase(pack_ids([self.erased_id, "nobody", self.erased_id]))
        assert len(rows) == (self.erased_id.encode() in known)
        self.is_erased = True
        if not is_restored:
            return
        engine = Engine(self.forgetful.policy, ALL_SCORES)
        table = self.forgetful.table
        engine.restore(table.ids.copy(), table.rows.copy(), self.forgetful.clock, self.forgetful.sketch())
        self.forgetful = engine

    @staticmethod
    def rows(engine: Engine) -> dict[bytes, bytes]:
        """Give each customer's row as bytes."""
        ids = engine.table.ids.tolist()
        return {ids[number]: engine.table.rows[number].tobytes() for number in engine.table.live_rows().tolist()}

    def assert_same(self) -> None:
        """Hold all equal that the engines know, but for the means of past sweeps."""
        assert self.rows(self.forgetful) == self.rows(self.ignorant)
        assert np.array_equal(self.forgetful.populations(), self.ignorant.populations())
        pairs = zip(self.forgetful.sketch().axes, self.ignorant.sketch().axes, strict=True)
        assert all(np.array_equal(mine.histogram, theirs.histogram) for mine, theirs in pairs)
        scoring, time_ms = self.learner.knowledge.scoring, self.ignorant.last_tick_ms
        dry = [engine.full_sketch(scoring, time_ms) for engine in (self.forgetful, self.ignorant)]
        for mine, theirs in zip(dry[0].axes, dry[1].axes, strict=True):
            assert np.array_equal(mine.histogram, theirs.histogram)
            assert (mine.term_sums.tolist(), mine.term_count) == (theirs.term_sums.tolist(), theirs.term_count)
        assert self.forgetful.table.customer_count == self.ignorant.table.customer_count
        assert len(self.forgetful.states()) == len(self.ignorant.states())


def grouped(operations: tuple[Operation, ...]) -> list[Operation | list[ReferenceEvent]]:
    """Put events that follow one another into batches."""
    steps: list[Operation | list[ReferenceEvent]] = []
    for operation in operations:
        if not isinstance(operation, ReferenceEvent):
            steps.append(operation)
        elif steps and isinstance(steps[-1], list):
            steps[-1].append(operation)
        else:
            steps.append([operation])
    return steps


@settings(max_examples=60)
@given(stream=streams([THIRD_AXIS]), who=st.integers(0, 7), when=st.integers(0, 60), is_restored=st.booleans())
def test_an_engine_that_erased_a_customer_is_one_that_never_saw_them(
    stream: Stream, who: int, when: int, is_restored: bool
) -> None:
    twins = Twins(stream, CUSTOMER_IDS[who])
    steps = grouped(stream.operations)
    for number, step in enumerate(steps):
        if number == when % (len(steps) + 1):
            twins.erase(is_restored=is_restored)
            twins.assert_same()
        twins.run(step)
    if not twins.is_erased:
        twins.erase(is_restored=is_restored)
    twins.assert_same()


@settings(max_examples=40)
@given(
    batches=st.lists(
        st.tuples(st.lists(st.integers(0, 300), max_size=80), st.lists(st.integers(0, 300), max_size=5)), max_size=12
    ),
    is_restored=st.booleans(),
)
def test_the_table_finds_who_is_there_and_nobody_else(
    batches: list[tuple[list[int], list[int]]], is_restored: bool
) -> None:
    def id_of(number: int) -> str:
        return f"customer-{number}" if number % 7 else "x" * 50 + str(number)

    policy = make_policy()
    table = make_table(policy)
    expected: dict[str, int] = {}
    row_count = 0
    for added, erased in batches:
        table.find_or_add(pack_ids([id_of(number) for number in added]))
        for number in added:
            if id_of(number) not in expected:
                expected[id_of(number)] = row_count
                row_count += 1
        gone = sorted({id_of(number) for number in erased} & expected.keys())
        table.erase(np.array([expected.pop(one) for one in gone], dtype=np.int64))
        if is_restored:
            other = make_table(policy)
            other.restore(table.ids.copy(), table.rows.copy())
            table = other
    everybody = [id_of(number) for number in range(301)]
    assert table.find(pack_ids(everybody)).tolist() == [expected.get(one, -1) for one in everybody]
    assert len(table) == row_count
    assert table.customer_count == len(expected)
    assert table.live_rows().tolist() == sorted(expected.values())
    assert_turns(table, expected)


def assert_turns(table: CustomerTable, expected: dict[str, int]) -> None:
    """Hold a sweep of half a period to those whose turn it is."""
    half_ms = 720 * 60_000
    turns = turns_of(pack_ids(list(expected))) % 1440 if expected else np.empty(0, dtype=np.uint16)
    due = {row for row, turn in zip(expected.values(), turns.tolist(), strict=True) if 0 < turn <= 720}
    assert set(table.turns.due(0, half_ms).tolist()) == due
    assert set(table.turns.due(0, 4 * half_ms).tolist()) == set(expected.values())


def test_nothing_of_an_erased_customer_is_left_in_memory() -> None:
    shop = make_shop(customer_count=300)
    secret = "somebody-" + "x" * 60
    shop.engine.apply(purchases([secret], shop.last_tick_ms, [123.25]), shop.learner.knowledge)
    rows = shop.engine.erase(pack_ids([secret, "customer 7"]))
    assert rows.tolist() == [7, 300]
    table = shop.engine.table
    assert table.ids[rows].tolist() == [b"", b""]
    assert is_erased(table.rows[rows]).all()
    blank = make_table(shop.engine.policy)
    blank.find_or_add(pack_ids(["anybody"]))
    blank.rows["turn"] = ERASED_TURN
    assert {table.rows[row].tobytes() for row in rows.tolist()} == {blank.rows[0].tobytes()}
    assert table.find(pack_ids([secret, "customer 7"])).tolist() == [-1, -1]


def test_a_switch_passes_over_erased_customers() -> None:
    shop = make_shop(customer_count=300)
    shop.engine.erase(pack_ids(["customer 1", "customer 2"]))
    time_ms = shop.last_tick_ms + MS_PER_DAY
    scoring = Scoring(version=2, weights={"value": (1.0, 0.5, 0.0, 0.0)})
    knowledge = shop.learner.switch(time_ms, scoring, [shop.engine.full_sketch(scoring, time_ms)])
    assert shop.engine.tick(time_ms, knowledge).rescored_count == 298


def test_whoever_comes_back_is_a_new_customer() -> None:
    shop = make_shop(customer_count=300)
    shop.engine.erase(pack_ids(["customer 1"]))
    effects = shop.engine.apply(purchases(["customer 1"], shop.last_tick_ms, [5.0]), shop.learner.knowledge)
    assert effects.touched_rows.tolist() == [300]
    row = shop.engine.table.rows[300]
    assert (int(row["purchase_count"]), float(row["gross_spend"])) == (1, 5.0)
    assert effects.changes.sequences.tolist() == [1]


def test_to_erase_nobody_changes_nothing() -> None:
    shop = make_shop(customer_count=200)
    before = shop.engine.table.rows.tobytes()
    assert shop.engine.erase(pack_ids(["nobody"])).tolist() == []
    assert shop.engine.erase(pack_ids([])).tolist() == []
    assert shop.engine.table.rows.tobytes() == before


@pytest.mark.parametrize("customer_count", [20_000])
def test_erased_rows_are_out_of_the_turns_whether_they_were_sorted_or_not(customer_count: int) -> None:
    table = make_table(make_policy())
    table.find_or_add(pack_ids([f"c{number}" for number in range(customer_count)]))
    table.turns.due(0, 60_000)
    table.find_or_add(pack_ids([f"late{number}" for number in range(100)]))
    gone = np.array([0, 5, customer_count - 1, customer_count + 3])
    table.erase(gone)
    everybody = np.concatenate([table.turns.due(start * 3_600_000, (start + 1) * 3_600_000) for start in range(24)])
    assert np.array_equal(np.sort(everybody), np.setdiff1d(np.arange(customer_count + 100), gone))
