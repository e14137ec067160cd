"""The policy: what people decide about segments, as a frozen value with a content hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from stream_app.domain.events import Family


class CutRule(StrEnum):
    """How an axis gets its cut points (S16)."""

    QUANTILES = "quantiles"
    ABSOLUTE = "absolute"


@dataclass(frozen=True, slots=True)
class EventRule:
    """What an event type means (S9).

    Parameters
    ----------
    family
        The kind of behaviour.
    amount_path
        Where the amount stands in the event, outermost key first, as `("properties", "revenue")`;
        None when the type carries no money.
    fixed_value
        Amount of every event of the type in the reporting currency (S10); None when the event says it.
    satisfaction_path
        Where a satisfaction stands; None when the type has none.
    satisfaction_range
        Worst and best satisfaction as the event says it; mapped linearly to [0, 1].
    """

    family: Family
    amount_path: tuple[str, ...] | None = None
    fixed_value: float | None = None
    satisfaction_path: tuple[str, ...] | None = None
    satisfaction_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class AxisPolicy:
    """One axis of the segment: its tiers, from lowest to highest, and the lines between them.

    Parameters
    ----------
    name
        Name in outputs and metrics, as `value`.
    score
        Name of the score function (`domain.scores`).
    tiers
        Names from lowest to highest, at least two.
    cut_rule
        Quantiles of the population, or absolute scores.
    cuts
        One for each edge between tiers, strictly increasing: quantiles in (0, 1), or scores.
    margin
        Half-width of the hysteresis band (S17): for quantiles a share in [0, 1) of `min(q, 1 - q)`, for
        absolute cut points in units of the score.
    confirmation_ms
        Time in milliseconds that a candidate must hold before it becomes the held tier (S18).
    """

    name: str
    score: str
    tiers: tuple[str, ...]
    cut_rule: CutRule
    cuts: tuple[float, ...]
    margin: float
    confirmation_ms: int


@dataclass(frozen=True, slots=True)
class Treatment:
    """What to do with the customers of a segment: the channel that serves them, and the action."""

    channel: str
    action: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that people decide; made by `parse_policy`, which has validated it.

    Parameters
    ----------
    name, owner, objective
        Whose policy it is and what it is for; free text.
    axes
        In the order in which changes of one moment are told.
    treatment_rules
        Pairs of a pattern (one tier, `unrated`, `prospect` or `*` for each axis) and its treatment; the first
        that matches holds.
    event_rules
        Event type to its rule; types that are missing are ignored and counted.
    default_event_type
        Type of events of a log that has none.
    reporting_currency
        ISO 4217 code.
    currency_rates
        Value of one unit of a currency in the reporting currency, which itself has rate 1.
    amount_max
        Largest amount that is believed, in the reporting currency; larger ones are refused.
    rates_everyone
        False: customers without a purchase are prospects (S13).
    rated_customers_min
        With fewer rated customers there are no quantile cut points (S13).
    sweep_period_minutes
        A divisor of 40,320.
    horizon_periods
        K: the horizon H is K periods of 28 days (S14).
    half_lives_days
        Half-lives of the decayed counts and spends, four, increasing.
    behaviour_half_life_days
        Half-life of the decayed counts of browse, cart, content, support and feedback.
    future_skew_max_ms
        How far ahead of its record's append time an event may be (S8), in milliseconds.
    content_hash
        32 hex digits over everything above.
    state_hash
        32 hex digits over what stored rows depend on; state of another one is refused.
    """

    name: str
    owner: str
    objective: str
    axes: tuple[AxisPolicy, ...]
    treatment_rules: tuple[tuple[tuple[str, ...], Treatment], ...]
    event_rules: Mapping[str, EventRule]
    default_event_type: str
    reporting_currency: str
    currency_rates: Mapping[str, float]
    amount_max: float
    rates_everyone: bool
    rated_customers_min: int
    sweep_period_minutes: int
    horizon_periods: int
    half_lives_days: tuple[float, float, float, float]
    behaviour_half_life_days: float
    future_skew_max_ms: int
    content_hash: str
    state_hash: str
