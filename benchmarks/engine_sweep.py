"""Re-scores a second in `Engine.tick`."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import Scale
from benchmarks.warm_engine import MS_PER_HOUR, WarmEngine
from stream_app.domain.events import MS_PER_DAY

MODELS_GOAL, MODELS_FLOOR = 1_000_000.0, 500_000.0
VALUE_FLOOR = 1_000_000.0
HOURS_PER_DAY = 24
WARM_UP_SHARE = 10
"""Sweeps do not depend on how many events came before: a tenth of the usual warm-up will do."""


def run(scale: Scale) -> list[Measurement]:
    """Measure every model: a daily sweep in ticks of an hour, and a tick that sweeps everybody at once."""
    return _both(scale, has_models=True)


def run_value(scale: Scale) -> list[Measurement]:
    """Measure the same for the value axis without models."""
    return _both(scale, has_models=False)


def _both(scale: Scale, *, has_models: bool) -> list[Measurement]:
    smaller = replace(scale, warm_up_events=scale.warm_up_events // WARM_UP_SHARE)
    warm = WarmEngine(smaller, sweep_days=1, has_models=has_models)
    start_ms = (int(warm.source.now_ms) // MS_PER_DAY + 2) * MS_PER_DAY
    warm.apply_until(start_ms)
    warm.tick(start_ms)
    return [
        _measure(warm, scale, start_ms, ticks_per_day=HOURS_PER_DAY),
        _measure(warm, scale, start_ms + scale.repetitions * MS_PER_DAY, ticks_per_day=1),
    ]


def _measure(warm: WarmEngine, scale: Scale, start_ms: int, ticks_per_day: int) -> Measurement:
    step_ms = HOURS_PER_DAY // ticks_per_day * MS_PER_HOUR
    stopwatch, counts, changes = Stopwatch(), [], 0
    for day in range(scale.repetitions):
        stopwatch.begin_repetition()
        rescored = 0
        for number in range(1, ticks_per_day + 1):
            time_ms = start_ms + day * MS_PER_DAY + number * step_ms
            warm.apply_until(time_ms)
            with stopwatch.timed():
                effects = warm.engine.tick(time_ms, warm.knowledge)
            rescored += effects.rescored_count
            changes += len(effects.changes)
        counts.append(rescored)
        warm.renew(start_ms + (day + 1) * MS_PER_DAY)
    rate = Rate.of(counts, stopwatch)
    how = "a tick an hour" if ticks_per_day > 1 else "one tick for everybody"
    name, what = ("engine_sweep", "every model") if warm.has_models else ("engine_sweep_value", "value axis")
    return Measurement(
        name=f"{name}.hourly" if ticks_per_day > 1 else f"{name}.at_once",
        what=f"customers re-scored, {what}, {len(warm.source.ids):,} customers, daily sweep, {how}",
        unit="re-scores/s",
        value=rate.best,
        middle=rate.middle,
        floor=MODELS_FLOOR if warm.has_models else VALUE_FLOOR,
        goal=MODELS_GOAL if warm.has_models else None,
        notes=f"{rate.note}; {changes / sum(counts):.2%} of re-scores changed a tier",
    )
