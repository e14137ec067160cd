"""The engine against the scalar reference: the same changes, counts and rows for any stream."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.equivalence.agreement import assert_outcomes_agree
from tests.equivalence.runs import ALL_AT_ONCE, ONE_BY_ONE, Driving, run_engine
from tests.equivalence.third_axis import ALL_REFERENCE_SCORES, ALL_SCORES, THIRD_AXIS
from tests.outcomes import run_reference
from tests.strategies import Stream, batch_sizes, streams
from tests.worked_examples import EXAMPLES, Example, assert_as_worked_out


@pytest.mark.parametrize("sizes", [ALL_AT_ONCE, ONE_BY_ONE], ids=["all at once", "one by one"])
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_the_engine_gives_what_was_worked_out_by_hand(example: Example, sizes: tuple[int, ...]) -> None:
    assert_as_worked_out(example, run_engine(example.stream, Driving(sizes)).outcome)


@settings(max_examples=150)
@given(stream=streams([THIRD_AXIS, "value again"]), sizes=batch_sizes())
def test_the_engine_agrees_with_the_reference_under_any_cut(stream: Stream, sizes: list[int]) -> None:
    scores = {**ALL_SCORES, "value again": ALL_SCORES["value"]}
    reference_scores = {**ALL_REFERENCE_SCORES, "value again": ALL_REFERENCE_SCORES["value"]}
    outcome = run_engine(stream, Driving(sizes), scores).outcome
    assert_outcomes_agree(outcome, run_reference(stream, reference_scores))
