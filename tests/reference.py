"""The scalar reference: the rules of `docs/semantics.md` once more, one customer and one event at a time.

It shares nothing with the engine but the contracts of `stream_app.domain` (policy, events, effects), so that a
misreading of the rules has to be made twice to go unseen. Benchmarks use it as the baseline.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_MINUTE, MS_PER_SECOND
from stream_app.domain.policy import Policy
from stream_app.domain.rows import PROSPECT, UNRATED
from tests.reference_customer import AxisState, Customer, KeptTotal, ReferenceEvent, decay, gap_steps
from tests.reference_lines import Lines, ReferenceKnowledge, candidate_of, draw_all_lines, position

__all__ = [
    "CYCLE_MINUTES",
    "REFERENCE_SCORES",
    "Customer",
    "ReferenceChange",
    "ReferenceEngine",
    "ReferenceEvent",
    "ReferenceKnowledge",
    "ReferenceScore",
]

CYCLE_MINUTES = 28 * 24 * 60
BUCKET_WIDTH = 0.005
BUCKET_LAST = 2**15 - 1

Term = Callable[[Customer, int, Policy], float]
"""One term of a score before it is weighted: of a customer, as of a time, under a policy."""


@dataclass(frozen=True, slots=True)
class ReferenceChange:
    """One segment change, as one element of `Changes`; `event_index` is -1 in a tick."""

    event_index: int
    customer_id: str
    sequence: int
    axis: int
    from_tier: int
    to_tier: int
    segment: tuple[int, ...]
    score: float
    cut_point: float | None
    cause: Cause
    is_triggered: bool
    term_values: tuple[float, ...]
    effective_at_ms: int


@dataclass(frozen=True, slots=True)
class ReferenceScore:
    """A score: its terms, their weights without learning, and the histogram's buckets."""

    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    bucket_width: float
    bucket_last: int = BUCKET_LAST

    def bucket_of(self, score: float) -> int:
        """Give the bucket that a score falls in."""
        return min(max(math.floor(score / self.bucket_width), 0), self.bucket_last)


def spend_term(half_life: int) -> Term:
    """Make the term `log1p(max(0, decayed spend))` for the half-life with that index."""

    def term(customer: Customer, as_of_ms: int, policy: Policy) -> float:
        left = decay(as_of_ms - customer.clock_ms, policy.half_lives_days[half_life])
        return math.log1p(max(0.0, customer.decayed_spends[half_life] * left))

    return term


def no_term(customer: Customer, as_of_ms: int, policy: Policy) -> float:
    """Give the term of what nothing is known of yet."""
    return 0.0


REFERENCE_SCORES: Mapping[str, ReferenceScore] = {
    "value": ReferenceScore(
        # The last two need a purchase model and labels; the reference has neither, and their weight is 0.
        terms=(spend_term(2), spend_term(3), no_term, no_term),
        weights=(0.5, 0.5, 0.0, 0.0),
        bucket_width=BUCKET_WIDTH,
    ),
}
"""The product's score functions, from the text."""


class ReferenceEngine:
    """The engine's rules for one shard, one event at a time.

    Parameters
    ----------
    policy
        What people decided.
    scores
        Score functions by the name that the policy's axes use.
    """

    def __init__(self, policy: Policy, scores: Mapping[str, ReferenceScore] = REFERENCE_SCORES) -> None:
        self.policy = policy
        self.scores = [scores[axis.score] for axis in policy.axes]
        self.customers: dict[str, Customer] = {}
        self.last_tick_ms: int | None = None
        self.scoring_version: int | None = None
        self.duplicate_count = 0
        self.rescored_count = 0
        self.suppressed_counts = [0] * len(policy.axes)

    def apply(self, events: Sequence[ReferenceEvent], knowledge: ReferenceKnowledge) -> list[ReferenceChange]:
        """Count events one after the other and tell the changes that they bring."""
        self.scoring_version = knowledge.scoring_version
        changes: list[ReferenceChange] = []
        for index, event in enumerate(events):
            customer = self.customers.get(event.customer_id)
            if customer is None:
                customer = self._new_customer(event)
            elif event.event_id in customer.recent_event_ids:
                self.duplicate_count += 1
                continue
            customer.count(event, self.policy)
            as_of_ms = max(event.time_ms, customer.clock_ms)
            if self.last_tick_ms is not None:
                as_of_ms = max(as_of_ms, self.last_tick_ms)
            changes += self._rescore(customer, as_of_ms, knowledge, Cause.EVENT, index)
        return changes

    def tick(self, time_ms: int, knowledge: ReferenceKnowledge) -> list[ReferenceChange]:
        """Let time pass: re-score the customers whose turn has come, or all of them under another scoring."""
        if self.last_tick_ms is not None and time_ms <= self.last_tick_ms:
            return []
        is_switch = self.scoring_version not in (None, knowledge.scoring_version)
        self.scoring_version = knowledge.scoring_version
        up_to = time_ms // MS_PER_MINUTE
        # The first tick sweeps nobody.
        after = up_to if self.last_tick_ms is None else self.last_tick_ms // MS_PER_MINUTE
        self.last_tick_ms = time_ms
        changes: list[ReferenceChange] = []
        for customer in sorted(self.customers.values(), key=lambda customer: customer.customer_id.encode()):
            is_swept = has_turn_between(customer.turn, self.policy.sweep_period_minutes, after, up_to)
            if not (is_swept or is_switch):
                continue
            if has_turn_between(customer.turn, CYCLE_MINUTES, after, up_to):
                seconds = time_ms // MS_PER_SECOND
                gap = gap_steps(seconds, customer.last_purchase_seconds)
                customer.kept_totals.append(KeptTotal(seconds, customer.gross_spend, customer.baskets, gap))
            # A clock may be ahead of the tick; a span of decay is never negative.
            as_of_ms = max(time_ms, customer.clock_ms)
            changes += self._rescore(customer, as_of_ms, knowledge, Cause.CUT_POINT if is_switch else Cause.TIME, -1)
        return changes

    def sketch(self) -> list[Counter[int]]:
        """Count the rated customers by stored bucket, one counter for each axis."""
        return [
            Counter(axis.bucket for axis in axes if axis.bucket is not None)
            for axes in (
                [customer.axes[number] for customer in self.customers.values()]
                for number in range(len(self.policy.axes))
            )
        ]

    def dry_sketch(self, weights: Mapping[str, tuple[float, ...]], time_ms: int) -> list[Counter[int]]:
        """Count the rated customers by the bucket that they would be in under other weights, as of a time."""
        histograms: list[Counter[int]] = [Counter() for _ in self.policy.axes]
        for customer in self.customers.values():
            if self._is_rated(customer):
                as_of_ms = max(time_ms, customer.clock_ms)
                for number, scoring in enumerate(self.scores):
                    score = sum(self._terms(customer, number, as_of_ms, weights))
                    histograms[number][scoring.bucket_of(score)] += 1
        return histograms

    def first_knowledge(self) -> ReferenceKnowledge:
        """Give the first version, before anybody is known."""
        weights = {axis.name: score.weights for axis, score in zip(self.policy.axes, self.scores, strict=True)}
        return ReferenceKnowledge(version=1, scoring_version=1, weights=weights, lines=self._draw([]))

    def renewed(self, knowledge: ReferenceKnowledge, sketches: Sequence[Sequence[Counter[int]]]) -> ReferenceKnowledge:
        """Give the next version: lines from the merged sketches of all shards."""
        return replace(knowledge, version=knowledge.version + 1, lines=self._draw(sketches))

    def switched(
        self,
        knowledge: ReferenceKnowledge,
        weights: Mapping[str, tuple[float, ...]],
        dry_sketches: Sequence[Sequence[Counter[int]]],
    ) -> ReferenceKnowledge:
        """Give the next version with another scoring and the lines that belong to it."""
        return replace(
            self.renewed(knowledge, dry_sketches), scoring_version=knowledge.scoring_version + 1, weights=weights
        )

    def segment_of(self, customer: Customer) -> tuple[int, ...]:
        """Give every axis's held tier, or `UNRATED` or `PROSPECT`."""
        if not self._is_rated(customer):
            return (PROSPECT,) * len(customer.axes)
        return tuple(UNRATED if axis.held is None else axis.held for axis in customer.axes)

    def populations(self) -> list[Counter[int]]:
        """Count the customers by held tier, `UNRATED` or `PROSPECT`, one counter for each axis."""
        segments = [self.segment_of(customer) for customer in self.customers.values()]
        return [Counter(segment[number] for segment in segments) for number in range(len(self.policy.axes))]

    def _new_customer(self, event: ReferenceEvent) -> Customer:
        customer = Customer(
            customer_id=event.customer_id,
            turn=turn_of(event.customer_id),
            clock_ms=event.time_ms,
            axes=[AxisState() for _ in self.policy.axes],
            kept_totals=deque(maxlen=2 * self.policy.horizon_periods),
        )
        self.customers[event.customer_id] = customer
        return customer

    def _is_rated(self, customer: Customer) -> bool:
        return customer.purchase_count > 0 or self.policy.rates_everyone

    def _draw(self, sketches: Sequence[Sequence[Counter[int]]]) -> dict[str, Lines | None]:
        return draw_all_lines(self.policy, [score.bucket_width for score in self.scores], sketches)

    def _terms(
        self, customer: Customer, number: int, as_of_ms: int, weights: Mapping[str, tuple[float, ...]]
    ) -> tuple[float, ...]:
        own = weights[self.policy.axes[number].name]
        terms = self.scores[number].terms
        return tuple(weight * term(customer, as_of_ms, self.policy) for weight, term in zip(own, terms, strict=True))

    def _rescore(
        self, customer: Customer, as_of_ms: int, knowledge: ReferenceKnowledge, cause: Cause, event_index: int
    ) -> list[ReferenceChange]:
        if not self._is_rated(customer):
            return []
        self.rescored_count += 1
        told = []
        for number, scoring in enumerate(self.scores):
            axis, name = customer.axes[number], self.policy.axes[number].name
            terms = self._terms(customer, number, as_of_ms, knowledge.weights)
            score, before = sum(terms), axis.held
            crossing = self._settle(number, axis, knowledge.lines[name], score, as_of_ms, cause)
            axis.score, axis.bucket = score, scoring.bucket_of(score)
            if crossing is not None:
                told.append((number, before, terms, crossing))
        changes = []
        for number, before, terms, crossing in told:
            customer.sequence += 1
            changes.append(
                ReferenceChange(
                    event_index=event_index,
                    customer_id=customer.customer_id,
                    sequence=customer.sequence,
                    axis=number,
                    from_tier=UNRATED if before is None else before,
                    to_tier=self.segment_of(customer)[number],
                    segment=self.segment_of(customer),
                    score=sum(terms),
                    cut_point=crossing.line,
                    cause=crossing.cause,
                    is_triggered=crossing.is_new and cause is Cause.EVENT,
                    term_values=terms,
                    effective_at_ms=as_of_ms,
                )
            )
        return changes

    def _settle(
        self, number: int, axis: AxisState, lines: Lines | None, score: float, as_of_ms: int, cause: Cause
    ) -> _Crossing | None:
        if lines is None:
            return None
        if axis.held is None:
            axis.held = position(lines.cut_points, score)
            line = lines.cut_points[axis.held - 1] if axis.held > 0 else None
            return _Crossing(line, Cause.FIRST_RATED, is_new=True)
        candidate = candidate_of(axis.held, lines, score)
        is_new = candidate not in (axis.held, axis.candidate)
        if axis.candidate not in (None, candidate):
            self.suppressed_counts[number] += 1
            axis.candidate = None
        if candidate == axis.held:
            return None
        if is_new:
            axis.candidate, axis.since_ms = candidate, as_of_ms
            was_outside = axis.score is not None and candidate_of(axis.held, lines, axis.score) != axis.held
            axis.cause = Cause.CUT_POINT if was_outside else cause
        if as_of_ms - axis.since_ms < self.policy.axes[number].confirmation_ms:
            return None
        line = lines.promote[candidate - 1] if candidate > axis.held else lines.demote[candidate]
        axis.held, axis.candidate = candidate, None
        return _Crossing(line, axis.cause, is_new=is_new)


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Which line was crossed, why the candidate came, and whether it came just now."""

    line: float | None
    cause: Cause
    is_new: bool


def turn_of(customer_id: str) -> int:
    """Give a customer's minute of the 28-day cycle."""
    return int.from_bytes(blake2b(customer_id.encode(), digest_size=8).digest(), "big") % CYCLE_MINUTES


def has_turn_between(turn: int, period: int, after_minute: int, up_to_minute: int) -> bool:
    """Tell whether some minute M, `after_minute < M <= up_to_minute`, equals the turn modulo the period."""
    first_minute = after_minute + 1
    return first_minute + (turn - first_minute) % period <= up_to_minute
