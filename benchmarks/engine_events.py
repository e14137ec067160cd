"""Events a second through `Engine.apply`, from ids as Python strings to effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import Scale
from benchmarks.warm_engine import WarmEngine
from stream_app.domain.knowledge import Knowledge
from tests.reference import REFERENCE_SCORES, ReferenceEngine, ReferenceKnowledge
from tests.reference_lines import Lines

GOAL = 400_000.0
FLOOR = 250_000.0
SMALL_BATCH_FLOOR = 80_000.0
REFERENCE_RATIO_FLOOR = 30.0
KNOWN_AT_A_TIME = 50_000
SWEEP_DAYS = 7
"""Sweeps between batches are not timed; this only keeps the benchmark short."""


def run(scale: Scale) -> list[Measurement]:
    """Measure uniform and skewed customers, large and small batches, and the scalar reference."""
    warm = WarmEngine(scale, SWEEP_DAYS)
    reference = _reference_rate(warm, scale)
    rows = [
        _measure(warm, scale, zipf_exponent=0.0, reference=reference),
        _measure(warm, scale, zipf_exponent=0.8, reference=reference),
        _measure(warm, scale, zipf_exponent=1.0, reference=reference),
        _measure(warm, scale, zipf_exponent=0.0, reference=reference, is_small=True),
    ]
    ratio = rows[0].baseline_ratio
    return [
        *rows,
        Measurement(
            name="engine_events.reference",
            what="scalar reference, the same events, fewer of them",
            unit="events/s",
            value=reference.best,
            middle=reference.middle,
            notes=reference.note,
        ),
        Measurement(
            name="engine_events.ratio",
            what="engine (uniform) against the scalar reference",
            unit="times",
            value=ratio,
            floor=REFERENCE_RATIO_FLOOR,
        ),
    ]


def _measure(
    warm: WarmEngine, scale: Scale, *, zipf_exponent: float, reference: Rate, is_small: bool = False
) -> Measurement:
    batch_events = scale.small_batch_events if is_small else scale.batch_events
    batches = scale.small_batches if is_small else scale.batches
    stopwatch, changes = Stopwatch(), 0
    # One repetition that does not count brings everything to the state that lasts.
    _repeat(warm, Stopwatch(), batches, batch_events, zipf_exponent)
    for _ in range(scale.repetitions):
        changes += _repeat(warm, stopwatch, batches, batch_events, zipf_exponent)
    events = batches * batch_events
    rate = Rate.of([events] * scale.repetitions, stopwatch)
    spread = "uniform" if zipf_exponent == 0 else f"Zipf {zipf_exponent}"
    floor, goal = _promised(zipf_exponent, is_small=is_small)
    name = "small_batches" if is_small else spread.lower().replace(" ", "_")
    return Measurement(
        name=f"engine_events.{name}",
        what=f"events applied, {len(warm.source.ids):,} customers, {spread}, batches of {batch_events:,}",
        unit="events/s",
        value=rate.best,
        middle=rate.middle,
        floor=floor,
        goal=goal,
        baseline_ratio=rate.best / reference.best,
        notes=f"{rate.note}; {changes / (events * scale.repetitions):.2%} of events changed a tier",
    )


def _promised(zipf_exponent: float, *, is_small: bool) -> tuple[float | None, float | None]:
    """Give floor and goal; a skew of Zipf 1.0 is reported only."""
    if is_small:
        return SMALL_BATCH_FLOOR, None
    return (FLOOR, GOAL) if zipf_exponent < 1.0 else (None, None)


def _repeat(warm: WarmEngine, stopwatch: Stopwatch, batches: int, batch_events: int, zipf_exponent: float) -> int:
    """Apply some batches with the ticks between them, which are not timed; gives the number of changes."""
    source, changes = warm.source, 0
    stopwatch.begin_repetition()
    for _ in range(batches):
        warm.pass_time(source.now_ms)
        raw = source.draw(source.customers(batch_events, zipf_exponent))
        with stopwatch.timed():
            effects = warm.engine.apply(raw.batch(), warm.knowledge)
        changes += len(effects.changes)
    return changes


def _reference_rate(warm: WarmEngine, scale: Scale) -> Rate:
    """Let the reference get to know all customers whom the engine knows, and give it the same lines and events."""
    source = warm.source
    # The reference knows no models: it is measured on the axes that need none, which flatters it.
    axes = tuple(axis for axis in warm.policy.axes if axis.score in REFERENCE_SCORES)
    reference = ReferenceEngine(replace(warm.policy, axes=axes))
    knowledge = _for_reference(warm.knowledge, [axis.name for axis in axes])
    everybody = np.arange(len(source.ids))
    for some in np.array_split(everybody, -(-len(everybody) // KNOWN_AT_A_TIME)):
        reference.apply(source.draw(some, only_purchases=True).for_reference(), knowledge)
    customers = source.customers(scale.reference_events, 0.0)
    parts = [source.draw(part).for_reference() for part in np.array_split(customers, scale.repetitions)]
    stopwatch = Stopwatch()
    for part in parts:
        stopwatch.begin_repetition()
        with stopwatch.timed():
            reference.apply(part, knowledge)
    return Rate.of([len(part) for part in parts], stopwatch)


def _for_reference(knowledge: Knowledge, names: Sequence[str]) -> ReferenceKnowledge:
    lines: dict[str, Lines | None] = {}
    for name in names:
        lines[name], axis = None, knowledge.axes[name]
        if axis is not None:
            drawn = (axis.cut_points, axis.promote_lines, axis.demote_lines)
            lines[name] = Lines(*(tuple(scores.tolist()) for scores in drawn))
    weights = {name: REFERENCE_SCORES[name].weights for name in lines}
    return ReferenceKnowledge(
        version=knowledge.version, scoring_version=knowledge.scoring.version, weights=weights, lines=lines
    )
