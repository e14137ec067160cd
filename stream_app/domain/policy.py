"""The policy: what people decide about segments, as a frozen value with a content hash."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum, StrEnum
from hashlib import blake2b
from typing import NamedTuple

from stream_app.domain.durations import format_duration
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_MINUTE, Family
from stream_app.domain.identifiers import CYCLE_MINUTES
from stream_app.domain.rows import PROSPECT, UNRATED

UNRATED_NAME = "unrated"
"""How a segment names a rated customer's axis that has no lines yet (S13)."""
PROSPECT_NAME = "prospect"
"""How a segment names a customer who has bought nothing (S13)."""
ANY_TIER = "*"
"""Stands for every tier, `unrated` and `prospect` in the pattern of a treatment."""

_HASH_BYTES = 16


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


class Margin(NamedTuple):
    """How far beyond a cut a customer must be before the held tier changes (S17).

    For quantiles each is a share in [0, 1) of `min(q, 1 - q)`, for absolute cut points in units of the score.
    """

    rise: float
    fall: float


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
        Above a cut to rise, below it to fall: the hysteresis band (S17).
    confirmation_ms
        Time in milliseconds that a candidate must hold before it becomes the held tier (S18).
    """

    name: str
    score: str
    tiers: tuple[str, ...]
    cut_rule: CutRule
    cuts: tuple[float, ...]
    margin: Margin
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
        32 hex digits over everything above, made on construction.
    state_hash
        32 hex digits over what stored rows depend on, made on construction; state of another one is refused.
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
    content_hash: str = field(init=False)
    state_hash: str = field(init=False)

    def __post_init__(self) -> None:
        content = {name: getattr(self, name) for name in _CONTENT_FIELDS}
        stored = {name: getattr(self, name) for name in _STORED_FIELDS}
        stored["axes"] = [(axis.name, axis.score, axis.tiers) for axis in self.axes]
        object.__setattr__(self, "content_hash", _hash_of(content))
        object.__setattr__(self, "state_hash", _hash_of(stored))

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes, in the policy's order."""
        return tuple(axis.name for axis in self.axes)

    def name_segment(self, states: Sequence[int]) -> tuple[str, ...]:
        """Name what a customer holds on each axis: a tier, `unrated` or `prospect`.

        Parameters
        ----------
        states
            One for each axis, in the policy's order: a tier's index, `effects.UNRATED` or `effects.PROSPECT`.
        """
        missing = {UNRATED: UNRATED_NAME, PROSPECT: PROSPECT_NAME}
        return tuple(
            axis.tiers[state] if state >= 0 else missing[state] for axis, state in zip(self.axes, states, strict=True)
        )

    def treatment_for(self, segment: tuple[str, ...]) -> Treatment:
        """Find what to do with the customers of a segment: the first rule that matches holds.

        Parameters
        ----------
        segment
            One tier name, `unrated` or `prospect` for each axis, in the policy's order.

        Returns
        -------
        Treatment

        Raises
        ------
        ValueError
            When the segment is none of this policy: a bug of the caller, for rules cover every combination.
        """
        if len(segment) == len(self.axes):
            for pattern, treatment in self.treatment_rules:
                if all(wanted in (ANY_TIER, tier) for wanted, tier in zip(pattern, segment, strict=True)):
                    return treatment
        message = f"no treatment for segment {segment}: the policy's axes are {self.axis_names}"
        raise ValueError(message)

    def with_sweep_period(self, minutes: int) -> Policy:
        """Take another sweep period, as the command line's `--sweep` asks for.

        Parameters
        ----------
        minutes
            A divisor of 40,320, the minutes of the 28-day cycle.

        Returns
        -------
        Policy
            With a content hash of its own; the state hash is the same.

        Raises
        ------
        SettingsError
            When the period does not divide the cycle; the message names the nearest that do.
        """
        fault = sweep_period_fault(minutes * MS_PER_MINUTE)
        if fault is not None:
            message = f"sweep period: {fault}"
            raise SettingsError(message, code="invalid_sweep_period")
        return replace(self, sweep_period_minutes=minutes)


_HASH_FIELDS = ("content_hash", "state_hash")
_CONTENT_FIELDS = tuple(each.name for each in fields(Policy) if each.name not in _HASH_FIELDS)
# Cuts, margins and confirmations are not here: a row's held tier stays meaningful when its lines move.
_STORED_FIELDS = (
    "axes",
    "event_rules",
    "default_event_type",
    "reporting_currency",
    "currency_rates",
    "rates_everyone",
    "horizon_periods",
    "half_lives_days",
    "behaviour_half_life_days",
)


def sweep_period_fault(period_ms: int) -> str | None:
    """Say what is wrong with a sweep period, or None when it divides the 28-day cycle.

    Parameters
    ----------
    period_ms
        The period in milliseconds.

    Returns
    -------
    str | None
        What is wrong, what is allowed, and the nearest periods that are.
    """
    if period_ms > 0 and CYCLE_MINUTES * MS_PER_MINUTE % period_ms == 0 and period_ms % MS_PER_MINUTE == 0:
        return None
    divisors = [minutes for minutes in range(1, CYCLE_MINUTES + 1) if CYCLE_MINUTES % minutes == 0]
    below = [minutes for minutes in divisors if minutes * MS_PER_MINUTE <= period_ms]
    above = [minutes for minutes in divisors if minutes * MS_PER_MINUTE > period_ms]
    nearest = " or ".join(f'"{format_duration(minutes * MS_PER_MINUTE)}"' for minutes in below[-1:] + above[:1])
    return (
        f"{format_duration(max(0, period_ms))} is no divisor of the 28-day cycle of {CYCLE_MINUTES:,} minutes; "
        f"allowed are whole minutes that divide it; take {nearest}, the nearest"
    )


def _hash_of(content: Mapping[str, object]) -> str:
    """Hash plain content; the order of mappings does not count, that of sequences does."""
    text = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return blake2b(text.encode(), digest_size=_HASH_BYTES).hexdigest()


def _plain(value: object) -> object:
    """Turn values of a policy into what JSON can write, the same for equal values."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Margin) and value.rise == value.fall:
        return _plain(value.rise)  # As when there was one for both: such a policy keeps the hash it had.
    if isinstance(value, float):
        return value + 0.0  # -0.0 equals 0.0 and must not hash apart.
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value
