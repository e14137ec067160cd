"""The engine against itself, to the bit: under any cut into batches, over shards, and after restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.domain.effects import Cause
from stream_app.domain.identifiers import hash_ids, pack_ids
from stream_app.domain.rows import UNRATED
from tests.equivalence.agreement import assert_same_to_the_bit
from tests.equivalence.runs import ONE_BY_ONE, Driving, run_engine
from tests.equivalence.third_axis import ALL_REFERENCE_SCORES, ALL_SCORES, THIRD_AXIS
from tests.factories import make_axis
from tests.reference import ReferenceChange
from tests.strategies import Stream, batch_sizes, streams

anything = streams([THIRD_AXIS])
BUCKET_WIDTHS = {name: score.bucket_width for name, score in ALL_REFERENCE_SCORES.items()}


@settings(max_examples=40)
@given(stream=anything, sizes=batch_sizes())
def test_no_cut_of_a_stream_into_batches_changes_a_bit(stream: Stream, sizes: list[int]) -> None:
    at_once = run_engine(stream, scores=ALL_SCORES)
    assert_same_to_the_bit(run_engine(stream, Driving(ONE_BY_ONE), ALL_SCORES), at_once)
    assert_same_to_the_bit(run_engine(stream, Driving(sizes), ALL_SCORES), at_once)


@settings(max_examples=40)
@given(stream=anything, sizes=batch_sizes(), shard_count=st.integers(2, 4))
def test_any_number_of_shards_tells_the_same_changes(stream: Stream, sizes: list[int], shard_count: int) -> None:
    def shard_of(customer_id: str) -> int:
        return int(hash_ids(pack_ids([customer_id]))[0]) % shard_count

    sharded = Driving(sizes, shard_of=shard_of, shard_count=shard_count)
    assert_same_to_the_bit(run_engine(stream, sharded, ALL_SCORES), run_engine(stream, scores=ALL_SCORES))


@settings(max_examples=30)
@given(stream=anything, sizes=batch_sizes())
def test_an_engine_restored_from_its_rows_goes_on_as_if_nothing_had_been(stream: Stream, sizes: list[int]) -> None:
    restarted = run_engine(stream, Driving(sizes, restarts=True), ALL_SCORES)
    assert_same_to_the_bit(restarted, run_engine(stream, scores=ALL_SCORES))


@settings(max_examples=40)
@given(stream=anything, slice_sizes=batch_sizes(), restarts=st.booleans())
def test_a_tick_in_slices_is_the_tick_at_once_with_restarts_between_the_slices_or_not(
    stream: Stream, slice_sizes: list[int], restarts: bool
) -> None:
    sliced = run_engine(stream, Driving(slice_sizes=slice_sizes, restarts=restarts), ALL_SCORES)
    assert_same_to_the_bit(sliced, run_engine(stream, scores=ALL_SCORES))


@settings(max_examples=40)
@given(stream=anything, sizes=batch_sizes())
def test_changes_of_a_customer_form_a_gapless_chain(stream: Stream, sizes: list[int]) -> None:
    run = run_engine(stream, Driving(sizes), ALL_SCORES)
    sequences: dict[str, int] = {}
    segments: dict[str, list[int]] = {}
    for change in run.outcome.changes:
        assert change.sequence == sequences.get(change.customer_id, 0) + 1
        sequences[change.customer_id] = change.sequence
        held = segments.setdefault(change.customer_id, [UNRATED] * len(stream.policy.axes))
        assert change.from_tier == held[change.axis]
        assert change.to_tier != change.from_tier
        assert (change.cause is Cause.FIRST_RATED) == (change.from_tier == UNRATED)
        held[change.axis] = change.to_tier
        assert change.segment[change.axis] == change.to_tier
    for customer_id, segment in segments.items():
        assert run.outcome.rows[customer_id]["held"] == segment
    assert_axes_in_order(run.outcome.changes)


def assert_axes_in_order(changes: Sequence[ReferenceChange]) -> None:
    """Hold the changes of one moment to the policy's order and to one segment."""
    for earlier, later in pairwise(changes):
        at_one_moment = (earlier.customer_id, earlier.event_index, earlier.effective_at_ms)
        if at_one_moment == (later.customer_id, later.event_index, later.effective_at_ms):
            assert earlier.axis < later.axis
            assert earlier.segment == later.segment


@settings(max_examples=40)
@given(stream=anything, sizes=batch_sizes())
def test_no_change_is_told_without_a_crossing_of_its_line(stream: Stream, sizes: list[int]) -> None:
    run = run_engine(stream, Driving(sizes), ALL_SCORES)
    by_version = {knowledge.version: knowledge for knowledge in run.knowledge}
    for told in run.told:
        change = told.change
        lines = by_version[told.knowledge_version].axes[stream.policy.axes[change.axis].name]
        assert lines is not None
        if change.cause is Cause.FIRST_RATED:
            assert change.to_tier == np.count_nonzero(lines.cut_points <= change.score)
            expected = lines.cut_points[change.to_tier - 1] if change.to_tier else None
        elif change.to_tier > change.from_tier:
            expected = lines.promote_lines[change.to_tier - 1]
            assert change.score >= expected
        else:
            expected = lines.demote_lines[change.to_tier]
            assert change.score < expected
        assert change.cut_point == expected


@settings(max_examples=40)
@given(stream=anything)
def test_a_percentile_is_the_share_of_the_known_population_below_the_score(stream: Stream) -> None:
    run = run_engine(stream, scores=ALL_SCORES)
    for told in run.told:
        known = run.known_histograms.get(told.knowledge_version)
        if known is None or not known[told.change.axis].sum():
            assert told.percentile is None
            continue
        histogram = known[told.change.axis]
        bucket = int(told.change.score // BUCKET_WIDTHS[stream.policy.axes[told.change.axis].score])
        below, up_to = histogram[:bucket].sum(), histogram[: bucket + 1].sum()
        assert told.percentile is not None
        # The grid is of tenths of a percent, and within the score's own bucket nobody knows who is below.
        tenth = 0.1 + 1e-9
        assert 100 * below / histogram.sum() - tenth <= told.percentile <= 100 * up_to / histogram.sum() + tenth


@settings(max_examples=40)
@given(stream=streams())
def test_a_third_axis_leaves_the_others_as_they_are(stream: Stream) -> None:
    third = make_axis(name=THIRD_AXIS, score=THIRD_AXIS, cuts=(0.3, 0.6))
    every = stream.policy.treatment_rules[0][1]
    wider = replace(stream.policy, axes=(third, *stream.policy.axes), treatment_rules=((("*", "*"), every),))
    with_third = run_engine(replace(stream, policy=wider), scores=ALL_SCORES)
    told = [change for change in with_third.outcome.changes if change.axis == 1]
    alone = run_engine(stream, scores=ALL_SCORES).outcome.changes
    assert [(c.event_index, c.customer_id, c.from_tier, c.to_tier, c.score, c.cause) for c in told] == [
        (c.event_index, c.customer_id, c.from_tier, c.to_tier, c.score, c.cause) for c in alone
    ]
