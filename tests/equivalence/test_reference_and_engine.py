"""The engine against the scalar reference: the same changes, counts and rows for any stream."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from tests.equivalence.runs import ALL_AT_ONCE, ONE_BY_ONE, run_engine
from tests.equivalence.third_axis import ALL_REFERENCE_SCORES, ALL_SCORES, THIRD_AXIS
from tests.outcomes import Outcome, assert_rows_close, run_reference
from tests.reference import ReferenceChange
from tests.strategies import Stream, batch_sizes, streams
from tests.worked_examples import EXAMPLES, Example, assert_as_worked_out

_FLOATS = ("score", "cut_point", "term_values")


def assert_outcomes_agree(actual: Outcome, expected: Outcome) -> None:
    """Hold the engine's outcome to the reference's: scores to 1e-9, all else exactly."""
    assert actual.duplicates == expected.duplicates
    assert actual.tiers_before == expected.tiers_before
    assert len(actual.changes) == len(expected.changes)
    for mine, theirs in zip(actual.changes, expected.changes, strict=True):
        _assert_changes_agree(mine, theirs)
    assert actual.suppressed_counts == expected.suppressed_counts
    assert actual.rescored_count == expected.rescored_count
    assert actual.populations == expected.populations
    assert actual.rows.keys() == expected.rows.keys()
    for customer_id, row in expected.rows.items():
        assert_rows_close(actual.rows[customer_id], row)


def _assert_changes_agree(actual: ReferenceChange, expected: ReferenceChange) -> None:
    for name in ReferenceChange.__slots__:
        mine, theirs = getattr(actual, name), getattr(expected, name)
        if name == "term_values":
            # The engine pads with zeros to the axis of the most terms.
            padded = theirs + (0.0,) * (len(mine) - len(theirs))
            assert all(map(_is_close, mine, padded)), (name, mine, theirs)
        elif name in _FLOATS and theirs is not None:
            assert mine is not None, (name, mine, theirs)
            assert _is_close(mine, theirs), (name, mine, theirs)
        else:
            assert mine == theirs, (name, mine, theirs)


def _is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("sizes", [ALL_AT_ONCE, ONE_BY_ONE], ids=["all at once", "one by one"])
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_the_engine_gives_what_was_worked_out_by_hand(example: Example, sizes: tuple[int, ...]) -> None:
    assert_as_worked_out(example, run_engine(example.stream, sizes).outcome)


@settings(max_examples=150)
@given(stream=streams(), sizes=batch_sizes())
def test_the_engine_agrees_with_the_reference_under_any_cut(stream: Stream, sizes: list[int]) -> None:
    assert_outcomes_agree(run_engine(stream, sizes).outcome, run_reference(stream))


@settings(max_examples=100)
@given(stream=streams([THIRD_AXIS, "value again"]), sizes=batch_sizes())
def test_the_engine_agrees_with_the_reference_on_more_axes(stream: Stream, sizes: list[int]) -> None:
    scores = {**ALL_SCORES, "value again": ALL_SCORES["value"]}
    reference_scores = {**ALL_REFERENCE_SCORES, "value again": ALL_REFERENCE_SCORES["value"]}
    outcome = run_engine(stream, sizes, scores).outcome
    assert_outcomes_agree(outcome, run_reference(stream, reference_scores))
