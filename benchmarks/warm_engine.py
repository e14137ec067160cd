"""An engine in the middle of its work: all customers known, tiers held, knowledge renewed every day."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.events import EventSource
from benchmarks.models import every_model
from benchmarks.scale import Scale
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.knowledge import Knowledge
from stream_app.engine import Engine
from stream_app.learning.learner import Learner

MS_PER_HOUR = 3_600_000
MINUTES_PER_DAY = 1440
_WARM_UP_BATCH = 16_384
_FIRST_PURCHASES_SLOWNESS = 8.0
"""Spreads the first purchases over most of a year."""


class WarmEngine:
    """An engine, its learner and its events.

    Parameters
    ----------
    scale
        Says how many customers, and how long the warm-up is.
    sweep_days
        Period of the sweeps.
    has_models
        Both axes of the default policy, with every model in force; else the value axis alone, as it begins.
    """

    def __init__(self, scale: Scale, sweep_days: int, *, has_models: bool = True) -> None:
        policy = load_policy(None).with_sweep_period(sweep_days * MINUTES_PER_DAY)
        self.policy = policy if has_models else replace(policy, axes=policy.axes[:1])
        self.has_models = has_models
        self.source = EventSource(scale.customers)
        self.engine = Engine(self.policy)
        self.learner = Learner(self.policy)
        self._next_tick_ms = int(self.source.now_ms)
        self._warm_up(scale.warm_up_events, sweep_days)

    @property
    def knowledge(self) -> Knowledge:
        """The version in force."""
        return self.learner.knowledge

    def pass_time(self, until_ms: float, step_ms: int = MS_PER_HOUR) -> list[Effects]:
        """Tick up to a time; knowledge is renewed after the first tick of each day."""
        told = []
        while self._next_tick_ms <= until_ms:
            told.append(self.tick(self._next_tick_ms))
            self._next_tick_ms += step_ms
        return told

    def tick(self, time_ms: int) -> Effects:
        """Tick once, and renew knowledge if a day begins."""
        effects = self.engine.tick(time_ms, self.knowledge)
        if time_ms % MS_PER_DAY == 0:
            self.renew(time_ms)
        return effects

    def apply_until(self, time_ms: int) -> None:
        """Let as many events count as come before a time."""
        for raw in self.source.until(time_ms, _WARM_UP_BATCH):
            self.engine.apply(raw.batch(), self.knowledge)

    def renew(self, time_ms: int) -> None:
        """Renew knowledge from the engine's population."""
        sketches = [self.engine.sketch()]
        full = []
        if self.learner.wants_full_sketch(sketches):
            full = [self.engine.full_sketch(self.knowledge.scoring, time_ms)]
        self.learner.renew(time_ms, sketches, full)

    def _warm_up(self, event_count: int, sweep_days: int) -> None:
        source, engine = self.source, self.engine
        everyone = source.first_purchases()
        for start in range(0, len(everyone), _WARM_UP_BATCH):
            customers = everyone[start : start + _WARM_UP_BATCH]
            raw = source.draw(customers, only_purchases=True, slowness=_FIRST_PURCHASES_SLOWNESS)
            engine.apply(raw.batch(), self.knowledge)
        self._next_tick_ms = (int(source.now_ms) // MS_PER_DAY + 1) * MS_PER_DAY
        # The first tick only starts the count and draws lines; one sweep later everybody holds a tier.
        self.tick(self._next_tick_ms)
        if self.has_models:
            scoring = every_model(self.policy, self.knowledge.scoring.version + 1)
            self.learner.switch(self._next_tick_ms, scoring, [engine.full_sketch(scoring, self._next_tick_ms)])
        self.tick(self._next_tick_ms + sweep_days * MS_PER_DAY)
        self._next_tick_ms += (sweep_days + 1) * MS_PER_DAY
        source.now_ms = float(self._next_tick_ms)
        for start in range(0, event_count, _WARM_UP_BATCH):
            self.pass_time(source.now_ms, MS_PER_DAY)
            raw = source.draw(source.customers(min(_WARM_UP_BATCH, event_count - start), 0.0))
            engine.apply(raw.batch(), self.knowledge)
        self.pass_time(source.now_ms, MS_PER_DAY)
