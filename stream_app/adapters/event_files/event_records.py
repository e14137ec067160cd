"""Events of a file as records of the wire contract `customer_event.v1`, for a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.encoding import LazyIds
from stream_app.adapters.event_files.event_log import EventLog
from stream_app.domain.events import EventBatch, Family
from stream_app.domain.policy import EventRule, Policy

_DECIMALS = 9
"""A satisfaction that was mapped to [0, 1] and back gets its few decimals again."""


@dataclass(frozen=True, slots=True, eq=False)
class EventRecords:
    """Records in the order of the log that they were read from.

    Parameters
    ----------
    keys
        Length n: customer ids in UTF-8.
    values
        Length n: JSON.
    times_ms
        Shape `(n,)`, int64: when the events happened.
    """

    keys: Sequence[bytes]
    values: Sequence[bytes]
    times_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)


def read_records(log: EventLog, policy: Policy, *, events_max: int) -> Iterator[EventRecords]:
    """Write the events of files as records.

    Whoever decodes them under the same policy gets the same events, to the bit: an order of several lines is one event,
    and amounts are in the reporting currency.

    Parameters
    ----------
    log
        What was read.
    policy
        The one it was read under.
    events_max
        Most records at a time.

    Yields
    ------
    EventRecords
        In order of replay.
    """
    writers = [_TypeWriter(name, policy.event_rules[name]) for name in log.event_types]
    for events, type_codes in log.typed_batches(events_max=events_max):
        yield _write(events, type_codes, writers)


def _write(events: EventBatch, type_codes: NDArray[np.int32], writers: Sequence[_TypeWriter]) -> EventRecords:
    keys = events.customer_ids.tolist()
    ids = events.event_ids
    event_ids = [own.decode() for own in ids.pick(range(len(ids)))] if isinstance(ids, LazyIds) else list(ids)
    times = np.datetime_as_string(events.times_ms.astype("datetime64[ms]"), timezone="UTC").tolist()
    values: list[bytes] = [b""] * len(events)
    for code in np.unique(type_codes).tolist():
        writer = writers[code]
        places = np.flatnonzero(type_codes == code)
        amounts = writer.amounts(events.families[places], events.amounts[places])
        satisfactions = writer.satisfactions(events.satisfactions[places])
        for place, amount, satisfaction in zip(places.tolist(), amounts, satisfactions, strict=True):
            values[place] = writer.write((event_ids[place], keys[place].decode(), times[place]), amount, satisfaction)
    return EventRecords(keys, values, events.times_ms)


class _TypeWriter:
    """Writes events of one type so that its rule reads the same out of them.

    Parameters
    ----------
    name
        The type.
    rule
        What the policy says of it.
    """

    def __init__(self, name: str, rule: EventRule) -> None:
        self._name = name
        self._rule = rule
        self._has_amount = rule.fixed_value is None and rule.family in (Family.PURCHASE, Family.REFUND)
        self._amount_path = rule.amount_path or ("amount",)

    def amounts(self, families: NDArray[np.uint8], amounts: NDArray[np.float64]) -> list[float | None]:
        """Give what stands in the events: a refund of a type of purchases is negative."""
        if not self._has_amount:
            return [None] * len(amounts)
        is_negative = (families == Family.REFUND) & (self._rule.family == Family.PURCHASE)
        signed: list[float | None] = np.where(is_negative, -amounts, amounts).tolist()
        return signed

    def satisfactions(self, satisfactions: NDArray[np.float64]) -> list[float | None]:
        """Give satisfactions in the range of the type, such that reading gives these again."""
        if self._rule.satisfaction_path is None:
            return [None] * len(satisfactions)
        worst, best = self._rule.satisfaction_range
        raw = worst + satisfactions * (best - worst)
        below, above = np.nextafter(raw, -np.inf), np.nextafter(raw, np.inf)
        for attempt in (above, below, raw, np.round(raw, _DECIMALS)):
            raw = np.where((attempt - worst) / (best - worst) == satisfactions, attempt, raw)
        return [None if value != value else value for value in raw.tolist()]

    def write(self, about: tuple[str, str, str], amount: float | None, satisfaction: float | None) -> bytes:
        """Write one event; `about` is event id, customer id and time."""
        document: dict[str, object] = {
            "event_id": about[0],
            "customer_id": about[1],
            "type": self._name,
            "occurred_at": about[2],
        }
        if amount is not None:
            _put(document, self._amount_path, amount)
        if satisfaction is not None and self._rule.satisfaction_path is not None:
            _put(document, self._rule.satisfaction_path, satisfaction)
        return orjson.dumps(document)


def _put(document: dict[str, object], path: tuple[str, ...], value: float) -> None:
    """Put a value where a path leads."""
    for key in path[:-1]:
        document = document.setdefault(key, {})  # type: ignore[assignment]
    document[path[-1]] = value
