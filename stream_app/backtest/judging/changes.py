"""Tier changes of a `changes.jsonl`: how many, and how many were undone within four weeks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from stream_app.backtest.histories import FLAP_MS
from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import AxisPolicy

MS_PER_YEAR = 365.25 * 86_400_000
_FIRST_RATED = "first_rated"


class _Record(msgspec.Struct, gc=False):
    """What counts of a segment-change event."""

    customer_id: str
    axis: str
    from_tier: str | None
    to_tier: str
    cause: str
    effective_at: datetime


@dataclass(slots=True)
class _AxisHistory:
    """Where a customer is on an axis: when each tier was left last, unless that has been undone."""

    first_ms: int
    left_at_ms: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class AxisChanges:
    """Changes of one axis; first ratings are none.

    Parameters
    ----------
    change_count, flap_count
        As in `backtest.histories`: a flap is a change undone within 28 days.
    customer_years
        Time from each customer's first record to the end of the log, in years of 365.25 days.
    """

    change_count: int = 0
    flap_count: int = 0
    customer_years: float = 0.0

    @property
    def flap_ratio(self) -> float | None:
        """Flaps by changes, in [0, 1]; None without changes."""
        return self.flap_count / self.change_count if self.change_count else None

    @property
    def changes_per_customer_year(self) -> float | None:
        """Changes that a rated customer sees in a year; None while nobody was rated."""
        return self.change_count / self.customer_years if self.customer_years > 0.0 else None


def judge_changes(path: Path, axes: Sequence[AxisPolicy], end_ms: int) -> dict[str, AxisChanges]:
    """Count changes and flaps of each axis.

    Parameters
    ----------
    path
        A `changes.jsonl`, each customer's records in their order.
    axes
        Of the policy under which it was written.
    end_ms
        End of the log.

    Returns
    -------
    dict[str, AxisChanges]
        By axis.

    Raises
    ------
    SettingsError
        Code `invalid_changes`, when it is no such file or names an axis or tier that the policy does not have.
    """
    places = {axis.name: {tier: place for place, tier in enumerate(axis.tiers)} for axis in axes}
    found = {axis.name: AxisChanges() for axis in axes}
    histories: dict[tuple[str, str], _AxisHistory] = {}
    for number, record in _records(path):
        tiers = places.get(record.axis, {})
        source = None if record.from_tier is None else tiers.get(record.from_tier, -1)
        target = tiers.get(record.to_tier, -1)
        if target < 0 or source == -1:
            message = (
                f"{path}: line {number}: {record.axis} {record.from_tier} to {record.to_tier} is no change of this "
                "policy; give the policy of the backtest with --policy"
            )
            raise SettingsError(message, code="invalid_changes")
        time_ms = round(record.effective_at.timestamp() * 1000)
        history = histories.setdefault((record.customer_id, record.axis), _AxisHistory(time_ms))
        if source is None or record.cause == _FIRST_RATED:
            continue
        found[record.axis].change_count += 1
        found[record.axis].flap_count += _undone(history, source, target, time_ms)
    for (_, axis_name), history in histories.items():
        found[axis_name].customer_years += max(end_ms - history.first_ms, 0) / MS_PER_YEAR
    return found


def _undone(history: _AxisHistory, source: int, target: int, time_ms: int) -> int:
    """Count the departures that a change undoes within 28 days, and note its own."""
    left_at_ms = history.left_at_ms
    is_rise = target > source
    back = [tier for tier in left_at_ms if (source < tier <= target if is_rise else target <= tier < source)]
    flap_count = sum(time_ms - left_at_ms.pop(tier) <= FLAP_MS for tier in back)
    left_at_ms[source] = time_ms
    return flap_count


def _records(path: Path) -> Iterator[tuple[int, _Record]]:
    decoder = msgspec.json.Decoder(_Record)
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                if not line.isspace():
                    yield number, decoder.decode(line)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); give the changes.jsonl of a backtest with --changes"
        raise SettingsError(message, code="invalid_changes") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{path}: line {number} is no segment change ({error}); give the changes.jsonl of a backtest"
        raise SettingsError(message, code="invalid_changes") from error
