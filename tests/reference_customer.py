"""One customer of the scalar reference: what is remembered, and how one event changes it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from stream_app.domain.effects import Cause
from stream_app.domain.events import BEHAVIOUR_FAMILIES, MS_PER_DAY, MS_PER_SECOND, Family
from stream_app.domain.policy import Policy

EVENT_IDS_KEPT = 8


@dataclass(frozen=True, slots=True)
class ReferenceEvent:
    """One customer event, as one element of an `EventBatch`."""

    customer_id: str
    event_id: str
    time_ms: int
    family: Family
    amount: float = 0.0
    satisfaction: float | None = None


@dataclass(slots=True)
class KeptTotal:
    """Gross spend and baskets up to one snapshot, and its distance from the last purchase in steps of three hours."""

    time_seconds: int
    gross_spend: float
    baskets: int
    gap: int


@dataclass(slots=True)
class AxisState:
    """What is remembered of one axis."""

    held: int | None = None
    candidate: int | None = None
    since_ms: int = 0
    cause: Cause = Cause.EVENT
    score: float | None = None
    bucket: int | None = None


@dataclass(slots=True)
class Customer:
    """One customer: everything that is remembered, as plain numbers."""

    customer_id: str
    turn: int
    clock_ms: int
    axes: list[AxisState]
    kept_totals: deque[KeptTotal]
    recent_event_ids: deque[str] = field(default_factory=lambda: deque(maxlen=EVENT_IDS_KEPT))
    sequence: int = 0
    decayed_spends: list[float] = field(default_factory=lambda: [0.0] * 4)
    decayed_counts: list[float] = field(default_factory=lambda: [0.0] * 4)
    behaviour_counts: list[float] = field(default_factory=lambda: [0.0] * len(BEHAVIOUR_FAMILIES))
    behaviour_seconds: list[int] = field(default_factory=lambda: [0] * len(BEHAVIOUR_FAMILIES))
    satisfaction_sum: float = 0.0
    satisfaction_count: int = 0
    gross_spend: float = 0.0
    net_spend: float = 0.0
    refunded: float = 0.0
    purchase_count: int = 0
    refund_count: int = 0
    baskets: int = 0
    first_purchase_seconds: int | None = None
    last_purchase_seconds: int | None = None
    last_basket: float = 0.0
    largest_basket: float = 0.0
    log_count: int = 0
    log_sum: float = 0.0
    log_square_sum: float = 0.0

    def count(self, event: ReferenceEvent, policy: Policy) -> None:
        """Count one event that is no duplicate: steps 1 to 7 of "One event"."""
        self.recent_event_ids.append(event.event_id)
        passed_ms = max(0, event.time_ms - self.clock_ms)
        self.clock_ms += passed_ms
        opens_basket = event.family is Family.PURCHASE and self._opens_basket(event)
        self._decay_and_add(event, policy, passed_ms, opens_basket=opens_basket)
        if event.satisfaction is not None:
            self.satisfaction_sum = float32(self.satisfaction_sum + event.satisfaction)
            self.satisfaction_count += 1
        if event.family is Family.PURCHASE:
            self._count_purchase(event, opens_basket=opens_basket)
        elif event.family is Family.REFUND:
            self.net_spend -= event.amount
            self.refunded += event.amount
            self.refund_count += 1
        else:
            self.net_spend += event.amount

    def _opens_basket(self, event: ReferenceEvent) -> bool:
        if self.first_purchase_seconds is None or self.last_purchase_seconds is None:
            return True
        known_days = {_day(self.first_purchase_seconds), _day(self.last_purchase_seconds)}
        return event.time_ms // MS_PER_DAY not in known_days

    def _decay_and_add(self, event: ReferenceEvent, policy: Policy, passed_ms: int, *, opens_basket: bool) -> None:
        late_by_ms = self.clock_ms - event.time_ms
        worth = -event.amount if event.family is Family.REFUND else event.amount
        for place, half_life in enumerate(policy.half_lives_days):
            left, share = decay(passed_ms, half_life), decay(late_by_ms, half_life)
            self.decayed_spends[place] = float32(self.decayed_spends[place] * left + worth * share)
            self.decayed_counts[place] = float32(self.decayed_counts[place] * left + opens_basket * share)
        half_life = policy.behaviour_half_life_days
        left, share = decay(passed_ms, half_life), decay(late_by_ms, half_life)
        for place, family in enumerate(BEHAVIOUR_FAMILIES):
            is_own = event.family is family
            self.behaviour_counts[place] = float32(self.behaviour_counts[place] * left + is_own * share)
            if is_own:
                seconds = event.time_ms // MS_PER_SECOND
                self.behaviour_seconds[place] = max(self.behaviour_seconds[place], seconds)

    def _count_purchase(self, event: ReferenceEvent, *, opens_basket: bool) -> None:
        self.gross_spend += event.amount
        self.net_spend += event.amount
        self.purchase_count += 1
        self.baskets += opens_basket
        seconds = event.time_ms // MS_PER_SECOND
        for kept in self.kept_totals:
            if seconds < kept.time_seconds:
                kept.gross_spend += event.amount
                kept.baskets += opens_basket
                kept.gap = min(kept.gap, gap_steps(kept.time_seconds, seconds))
        first, last = self.first_purchase_seconds, self.last_purchase_seconds
        if first is None or last is None:
            self.first_purchase_seconds = self.last_purchase_seconds = seconds
            self._replace_last_basket(event.amount)
            return
        self.first_purchase_seconds = min(first, seconds)
        self.last_purchase_seconds = max(last, seconds)
        if _day(seconds) > _day(last):
            self._replace_last_basket(event.amount)
        elif _day(seconds) == _day(last):
            self._enter_log(self.last_basket, sign=-1)
            self._replace_last_basket(self.last_basket + event.amount)
        elif opens_basket:
            self._enter_log(event.amount, sign=1)
            self.largest_basket = max(self.largest_basket, event.amount)

    def _replace_last_basket(self, amount: float) -> None:
        self.last_basket = amount
        self.largest_basket = max(self.largest_basket, amount)
        self._enter_log(amount, sign=1)

    def _enter_log(self, amount: float, *, sign: int) -> None:
        if amount > 0:
            self.log_count += sign
            self.log_sum += sign * math.log(amount)
            self.log_square_sum += sign * math.log(amount) ** 2


def decay(span_ms: int, half_life_days: float) -> float:
    """Give the share of a decayed sum that is left after a time span."""
    return float(2.0 ** (-span_ms / (half_life_days * MS_PER_DAY)))


def gap_steps(snapshot_seconds: int, purchase_seconds: int | None) -> int:
    """Give the whole steps of three hours from a purchase to a snapshot, in [0, 255]; 255 without one."""
    return 255 if purchase_seconds is None else min(max(snapshot_seconds - purchase_seconds, 0) // 10_800, 255)


def float32(value: float) -> float:
    """Round to float32."""
    return float(np.float32(value))


def _day(seconds: int) -> int:
    return seconds * MS_PER_SECOND // MS_PER_DAY
