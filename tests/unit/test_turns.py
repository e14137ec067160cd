"""Whose turn it is, against the rule written out minute by minute."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.events import MS_PER_MINUTE
from stream_app.domain.identifiers import CYCLE_MINUTES
from stream_app.domain.turns import TurnOrder, is_snapshot_due

PERIODS = [1, 60, 1440, 7 * 1440, CYCLE_MINUTES]
TURNS = st.lists(st.integers(0, CYCLE_MINUTES - 1), max_size=40)
TIMES = st.tuples(st.integers(0, 3 * CYCLE_MINUTES * MS_PER_MINUTE), st.integers(0, 90_000 * MS_PER_MINUTE))


def comes(turn: int, period: int, after_ms: int, until_ms: int) -> bool:
    """Apply the rule of docs/semantics.md minute by minute."""
    first, last = after_ms // MS_PER_MINUTE + 1, until_ms // MS_PER_MINUTE
    return any(minute % period == turn % period for minute in range(first, min(last, first + period - 1) + 1))


@given(turns=TURNS, times=TIMES, period=st.sampled_from(PERIODS), cut=st.integers(0, 40))
def test_a_sweep_takes_exactly_those_whose_turn_has_come(
    turns: list[int], times: tuple[int, int], period: int, cut: int
) -> None:
    order = TurnOrder(period)
    order.append(np.array(turns[:cut], dtype=np.uint16))
    order.append(np.array(turns[cut:], dtype=np.uint16))
    after_ms, until_ms = times[0], sum(times)

    due = order.due(after_ms, until_ms).tolist()

    assert sorted(due) == [row for row, turn in enumerate(turns) if comes(turn, period, after_ms, until_ms)]


@given(turns=TURNS, times=TIMES)
def test_a_snapshot_is_due_when_the_turn_of_the_whole_cycle_has_come(turns: list[int], times: tuple[int, int]) -> None:
    after_ms, until_ms = times[0], sum(times)

    after, until = (np.full(len(turns), time_ms) for time_ms in (after_ms, until_ms))
    due = is_snapshot_due(np.array(turns, dtype=np.uint16), after, until).tolist()

    assert due == [comes(turn, CYCLE_MINUTES, after_ms, until_ms) for turn in turns]


@pytest.mark.parametrize("period", PERIODS)
def test_consecutive_ticks_take_everybody_once_a_period(period: int) -> None:
    rng = np.random.default_rng(3)
    turns = rng.integers(0, CYCLE_MINUTES, 20_000).astype(np.uint16)
    order = TurnOrder(period)
    for part in np.split(turns, [10, 5_000, 12_000]):
        order.append(part)

    bounds = np.linspace(0, period, 8).astype(int) * MS_PER_MINUTE
    taken = np.concatenate([order.due(start, end) for start, end in pairwise(bounds.tolist())])

    assert np.array_equal(np.sort(taken), np.arange(len(turns)))
