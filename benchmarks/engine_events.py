"""Events a second through `Engine.apply`, from ids as Python strings to effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import Scale
from benchmarks.warm_engine import WarmEngine
from stream_app.domain.knowledge import Knowledge
from tests.reference import REFERENCE_SCORES, ReferenceEngine, ReferenceKnowledge
from tests.reference_lines import Lines

MODELS_GOAL, MODELS_FLOOR = 300_000.0, 180_000.0
VALUE_GOAL, VALUE_FLOOR = 400_000.0, 250_000.0
SMALL_BATCH_FLOOR = 80_000.0
REFERENCE_RATIO_FLOOR = 30.0
KNOWN_AT_A_TIME = 50_000
SWEEP_DAYS = 7
"""Sweeps between batches are not timed; this only keeps the benchmark short."""


@dataclass(frozen=True, slots=True)
class _Load:
    """How events are spread over customers and batches."""

    zipf_exponent: float
    is_small: bool = False

    @property
    def name(self) -> str:
        """Part of the figure's name."""
        return "small_batches" if self.is_small else self.spread.lower().replace(" ", "_")

    @property
    def spread(self) -> str:
        """In words."""
        return "uniform" if self.zipf_exponent == 0 else f"Zipf {self.zipf_exponent}"


def run(scale: Scale) -> list[Measurement]:
    """Measure all models: uniform and skewed customers, large and small batches."""
    warm = WarmEngine(scale, SWEEP_DAYS)
    return [_measure(warm, scale, load) for load in (_Load(0.0), _Load(0.8), _Load(1.0), _Load(0.0, is_small=True))]


def run_value(scale: Scale) -> list[Measurement]:
    """Measure the value axis without models, and the scalar reference of the same."""
    warm = WarmEngine(scale, SWEEP_DAYS, has_models=False)
    reference = _reference_rate(warm, scale)
    loads = (_Load(0.0), _Load(0.8), _Load(0.0, is_small=True))
    rows = [_measure(warm, scale, load, reference=reference) for load in loads]
    ratio = rows[0].baseline_ratio
    return [
        *rows,
        Measurement(
            name="engine_events_value.reference",
            what="scalar reference, the same events, fewer of them",
            unit="events/s",
            value=reference.best,
            middle=reference.middle,
            notes=reference.note,
        ),
        Measurement(
            name="engine_events_value.ratio",
            what="engine (uniform, value axis) against the scalar reference",
            unit="times",
            value=ratio,
            floor=REFERENCE_RATIO_FLOOR,
        ),
    ]


def _measure(warm: WarmEngine, scale: Scale, load: _Load, *, reference: Rate | None = None) -> Measurement:
    """Measure one load; with a reference, the engine is that without models."""
    batch_events = scale.small_batch_events if load.is_small else scale.batch_events
    batches = scale.small_batches if load.is_small else scale.batches
    stopwatch, changes = Stopwatch(), 0
    # One repetition that does not count brings everything to the state that lasts.
    _repeat(warm, Stopwatch(), (batches, batch_events), load)
    for _ in range(scale.repetitions):
        changes += _repeat(warm, stopwatch, (batches, batch_events), load)
    events = batches * batch_events
    rate = Rate.of([events] * scale.repetitions, stopwatch)
    floor, goal = _promised(load, has_models=reference is None)
    engine, what = ("engine_events", "every model") if reference is None else ("engine_events_value", "value axis")
    return Measurement(
        name=f"{engine}.{load.name}",
        what=f"events applied, {what}, {len(warm.source.ids):,} customers, {load.spread}, batches of {batch_events:,}",
        unit="events/s",
        value=rate.best,
        middle=rate.middle,
        floor=floor,
        goal=goal,
        baseline_ratio=None if reference is None else rate.best / reference.best,
        notes=f"{rate.note}; {changes / (events * scale.repetitions):.2%} of events changed a tier",
    )


def _promised(load: _Load, *, has_models: bool) -> tuple[float | None, float | None]:
    """Give floor and goal; a skew of Zipf 1.0, and small batches with models, are reported only."""
    if load.is_small:
        return (None, None) if has_models else (SMALL_BATCH_FLOOR, None)
    if load.zipf_exponent >= 1.0:
        return None, None
    return (MODELS_FLOOR, MODELS_GOAL) if has_models else (VALUE_FLOOR, VALUE_GOAL)


def _repeat(warm: WarmEngine, stopwatch: Stopwatch, sizes: tuple[int, int], load: _Load) -> int:
    """Apply some batches with the ticks between them, which are not timed; gives the number of changes."""
    source, changes = warm.source, 0
    batches, batch_events = sizes
    stopwatch.begin_repetition()
    for _ in range(batches):
        warm.pass_time(source.now_ms)
        raw = source.draw(source.customers(batch_events, load.zipf_exponent))
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
