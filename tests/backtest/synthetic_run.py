"""Hand-made batches, effects and whole runs for the tests of statistics, summary and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.statistics import BacktestStatistics
from stream_app.domain.effects import Cause, Changes, Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch, Family
from stream_app.domain.knowledge import AxisKnowledge, Knowledge, Scoring
from stream_app.domain.policy import AxisPolicy, CutRule, EventRule, Margin, Policy, Treatment
from stream_app.domain.rows import PROSPECT, UNRATED

START_MS = 19_000 * MS_PER_DAY
VALUE = AxisPolicy("value", "value", ("small", "big", "vip"), CutRule.QUANTILES, (0.8, 0.95), Margin(0.25, 0.25), 0)
MOOD = AxisPolicy("mood", "value", ("low", "high"), CutRule.ABSOLUTE, (1.0,), Margin(0.1, 0.1), 0)


def make_policy(*axes: AxisPolicy) -> Policy:
    """Make a policy with these axes, or the value axis alone."""
    chosen = axes or (VALUE,)
    return Policy(
        name="test",
        owner="tests",
        objective="be checked",
        axes=chosen,
        treatment_rules=((("*",) * len(chosen), Treatment("digital", "wait")),),
        event_rules={"purchase": EventRule(Family.PURCHASE)},
        default_event_type="purchase",
        reporting_currency="EUR",
        currency_rates={"EUR": 1.0},
        amount_max=1e9,
        rates_everyone=False,
        rated_customers_min=100,
        sweep_period_minutes=1440,
        horizon_periods=3,
        half_lives_days=(14.0, 30.0, 90.0, 365.0),
        behaviour_half_life_days=30.0,
        future_skew_max_ms=300_000,
    )


@dataclass(frozen=True)
class Move:
    """One segment change of the synthetic run."""

    customer_id: str
    time_ms: int
    from_tier: int
    to_tier: int
    axis: int = 0
    cause: Cause = Cause.EVENT
    score: float = 1.0


@dataclass(frozen=True)
class Happening:
    """One event of the synthetic run."""

    customer_id: str
    time_ms: int
    amount: float = 10.0
    family: Family = Family.PURCHASE
    tiers_before: tuple[int, ...] = (PROSPECT,)
    is_duplicate: bool = False


def make_changes(moves: Sequence[Move], n_axes: int = 1) -> Changes:
    """Lay moves out as the engine tells them."""
    n = len(moves)
    return Changes(
        event_indices=np.full(n, -1, dtype=np.int64),
        customer_ids=np.array([move.customer_id.encode() for move in moves], dtype=np.bytes_ if n else "S1"),
        sequences=np.ones(n, dtype=np.uint32),
        axes=np.array([move.axis for move in moves], dtype=np.uint8),
        from_tiers=np.array([move.from_tier for move in moves], dtype=np.int8),
        to_tiers=np.array([move.to_tier for move in moves], dtype=np.int8),
        segments=np.zeros((n, n_axes), dtype=np.int8),
        scores=np.array([move.score for move in moves], dtype=np.float64),
        percentiles=np.zeros(n),
        cut_points=np.zeros(n),
        causes=np.array([move.cause for move in moves], dtype=np.uint8),
        is_triggered=np.zeros(n, dtype=np.bool_),
        term_values=np.zeros((n, 2)),
        contributions=np.zeros((n, 2)),
        effective_at_ms=np.array([move.time_ms for move in moves], dtype=np.int64),
    )


def make_effects(
    moves: Sequence[Move] = (), happenings: Sequence[Happening] = (), *, n_axes: int = 1, suppressed: int = 0
) -> Effects:
    """Lay moves and what is known of events out as the engine returns them."""
    tiers = np.array([happening.tiers_before for happening in happenings], dtype=np.int8)
    return Effects(
        changes=make_changes(moves, n_axes),
        is_duplicate=np.array([happening.is_duplicate for happening in happenings], dtype=np.bool_),
        tiers_before=tiers.reshape(len(happenings), n_axes),
        touched_rows=np.empty(0, dtype=np.int64),
        rescored_count=len(happenings),
        suppressed_counts=np.full(n_axes, suppressed, dtype=np.int64),
    )


def make_batch(happenings: Sequence[Happening]) -> EventBatch:
    """Lay events out as columns."""
    n = len(happenings)
    return EventBatch(
        customer_ids=np.array([happening.customer_id.encode() for happening in happenings]),
        event_ids=[str(place) for place in range(n)],
        event_keys=np.arange(1, n + 1, dtype=np.uint64),
        times_ms=np.array([happening.time_ms for happening in happenings], dtype=np.int64),
        families=np.array([happening.family for happening in happenings], dtype=np.uint8),
        amounts=np.array([happening.amount for happening in happenings], dtype=np.float64),
        satisfactions=np.full(n, np.nan),
        positions=np.arange(n, dtype=np.int64),
    )


def make_knowledge(policy: Policy, *, has_lines: bool = True) -> Knowledge:
    """Make a knowledge whose cut points are 1, 2 and so on."""
    axes: dict[str, AxisKnowledge | None] = {}
    for axis in policy.axes:
        cut_points = np.arange(1.0, len(axis.tiers))
        lines = AxisKnowledge(cut_points, cut_points + 0.1, cut_points - 0.1, np.zeros(2), np.linspace(0, 3, 1001), 200)
        axes[axis.name] = lines if has_lines else None
    return Knowledge(7, policy.content_hash, START_MS, Scoring(1, {}), axes)


@dataclass
class SyntheticRun:
    """A random run and everything that happened in it, for a naive recount."""

    policy: Policy
    output_from_ms: int | None
    statistics: BacktestStatistics
    moves: list[Move] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    populations: list[tuple[int, NDArray[np.int64]]] = field(default_factory=list)
    held: dict[str, list[int]] = field(default_factory=dict)
    initial: dict[str, list[int]] = field(default_factory=dict)
    suppressed_count: int = 0

    def population(self) -> NDArray[np.int64]:
        """Count the customers in each state now."""
        tiers_max = max(len(axis.tiers) for axis in self.policy.axes)
        counts = np.zeros((len(self.policy.axes), tiers_max + 2), dtype=np.int64)
        for states in self.held.values():
            for axis, state in enumerate(states):
                counts[axis, state + 2] += 1
        return counts

    def segment_matrix(self) -> dict[tuple[str, ...], int]:
        """Count the customers in each segment now."""
        counts: dict[tuple[str, ...], int] = {}
        for states in self.held.values():
            names = tuple(
                {PROSPECT: "prospect", UNRATED: "unrated"}.get(state) or axis.tiers[state]
                for axis, state in zip(self.policy.axes, states, strict=True)
            )
            counts[names] = counts.get(names, 0) + 1
        return counts


def random_run(
    policy: Policy, *, seed: int, days: int = 120, customers: int = 60, output_from_day: int | None = None
) -> SyntheticRun:
    """Make a run in which customers buy and change tier at random, much more often than real ones."""
    random = np.random.default_rng(seed)
    output_from_ms = None if output_from_day is None else START_MS + output_from_day * MS_PER_DAY
    run = SyntheticRun(policy, output_from_ms, BacktestStatistics(policy, output_from_ms=output_from_ms))
    n_axes = len(policy.axes)
    run.held = {f"c{number:03d}": [PROSPECT] * n_axes for number in range(customers)}
    knowledge = make_knowledge(policy)
    for day in range(days):
        tick_ms = START_MS + day * MS_PER_DAY
        if tick_ms == output_from_ms or (output_from_ms is None and day == 0):
            run.initial = {customer: list(states) for customer, states in run.held.items()}
        _tick(run, random, tick_ms)
        populations = run.population()
        run.populations.append((tick_ms, populations))
        run.statistics.record_day(tick_ms, populations, knowledge)
        for part in range(3):
            _batch(run, random, tick_ms + part * 7 * 3_600_000)
    return run


def _tick(run: SyntheticRun, random: np.random.Generator, tick_ms: int) -> None:
    moves = []
    for customer in sorted(run.held):
        if run.held[customer][0] != PROSPECT and random.random() < 0.1:
            moves.extend(_moves_of(run, random, customer, tick_ms, Cause.TIME))
    suppressed = int(random.integers(3))
    if run.output_from_ms is None or tick_ms >= run.output_from_ms:
        run.suppressed_count += suppressed
    run.statistics.record_tick(tick_ms, make_effects(moves, n_axes=len(run.policy.axes), suppressed=suppressed))


def _batch(run: SyntheticRun, random: np.random.Generator, from_ms: int) -> None:
    happenings, moves = [], []
    for place in range(int(random.integers(1, 30))):
        customer = f"c{random.integers(len(run.held)):03d}"
        states, time_ms = run.held[customer], from_ms + place * 60_000
        event = Happening(
            customer,
            time_ms,
            float(random.integers(1, 1000)) / 4,
            Family(int(random.integers(7))) if random.random() < 0.3 else Family.PURCHASE,
            tuple(states),
            bool(random.random() < 0.05),
        )
        happenings.append(event)
        if event.is_duplicate:
            continue
        if event.family == Family.PURCHASE and states[0] == PROSPECT:
            run.held[customer] = [UNRATED] * len(states)
        if run.held[customer][0] != PROSPECT and random.random() < 0.4:
            moves.extend(_moves_of(run, random, customer, time_ms, Cause.EVENT))
    run.happenings.extend(happenings)
    effects = make_effects(moves, happenings, n_axes=len(run.policy.axes))
    run.statistics.record_batch(make_batch(happenings), effects)


def _moves_of(run: SyntheticRun, random: np.random.Generator, customer: str, time_ms: int, cause: Cause) -> list[Move]:
    axis = int(random.integers(len(run.policy.axes)))
    held = run.held[customer]
    others = [tier for tier in range(len(run.policy.axes[axis].tiers)) if tier != held[axis]]
    target = int(random.choice(others))
    move = Move(customer, time_ms, held[axis], target, axis, cause, float(random.random()))
    if held[axis] < 0:
        move = replace(move, from_tier=UNRATED, cause=Cause.FIRST_RATED)
    held[axis] = target
    run.moves.append(move)
    return [move]
