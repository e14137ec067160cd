"""Typed records to columns: the rules of one event, applied to many at once, doubtful ones left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.decoded import IgnoredReason
from stream_app.adapters.codec.rule_columns import RuleColumns, Source
from stream_app.adapters.codec.single_event import SEGMENT_CALL_TYPES, SEGMENT_MARKS, TRACK, Shape, SingleEvent
from stream_app.adapters.codec.time_columns import read_times_ms
from stream_app.adapters.codec.wire_event import Path, WireEvent
from stream_app.domain.events import ID_BYTES_MAX, EventBatch
from stream_app.domain.policy import Policy

_DOUBTFUL, _IGNORED, _ACCEPTED = 0, 1, 2
_UNMAPPED = -1
_ID_BITS_MAX = 4 * ID_BYTES_MAX
_OVERLONG_ID = "9" * (ID_BYTES_MAX + 1)

_Number = TypeVar("_Number", int, float)


class Texts(NamedTuple):
    """Texts of many events, each of length n."""

    customer_ids: list[str]
    event_ids: list[str]
    types: list[str]
    order_ids: list[str | None]


class EventColumns:
    """Columns of one batch while it is being decoded; every record is doubtful until it is read.

    Parameters
    ----------
    appended_ms
        Shape `(n,)`: when the records were appended, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, appended_ms: NDArray[np.int64]) -> None:
        size = len(appended_ms)
        self.appended_ms = appended_ms
        self.ignored_counts: Counter[str] = Counter()
        self.customer_ids: list[str] = [""] * size
        self.event_ids: list[str] = [""] * size
        self.types: list[str] = [""] * size
        self.order_ids: list[str | None] = [None] * size
        self.times_ms = np.zeros(size, dtype=np.int64)
        self.families = np.zeros(size, dtype=np.uint8)
        self.amounts = np.zeros(size)
        self.satisfactions = np.full(size, np.nan)
        self._states = np.full(size, _DOUBTFUL, dtype=np.uint8)

    def ignore(self, indices: NDArray[np.int64], reason: IgnoredReason) -> None:
        """Mark and count records that bring no event."""
        if len(indices):
            self._states[indices] = _IGNORED
            self.ignored_counts[reason.value] += len(indices)

    def accept(self, indices: NDArray[np.int64]) -> None:
        """Mark records whose columns are complete."""
        self._states[indices] = _ACCEPTED

    def put(self, index: int, event: SingleEvent) -> None:
        """Enter an event that was read on its own."""
        self.customer_ids[index] = event.customer_id
        self.event_ids[index] = event.event_id
        self.types[index] = event.type
        self.order_ids[index] = event.order_id
        self.times_ms[index] = event.time_ms
        self.families[index] = event.family
        self.amounts[index] = event.amount
        self.satisfactions[index] = event.satisfaction
        self._states[index] = _ACCEPTED

    def put_texts(self, indices: NDArray[np.int64], texts: Texts) -> None:
        """Enter the texts of many records."""
        if len(indices) == len(self.types):
            self.customer_ids, self.event_ids, self.types, self.order_ids = texts
            return
        for place, index in enumerate(indices.tolist()):
            self.customer_ids[index] = texts.customer_ids[place]
            self.event_ids[index] = texts.event_ids[place]
            self.types[index] = texts.types[place]
            self.order_ids[index] = texts.order_ids[place]

    def doubtful_indices(self) -> NDArray[np.int64]:
        """Give the records that nobody has accepted or ignored, increasing."""
        return np.flatnonzero(self._states == _DOUBTFUL)

    def accepted_indices(self) -> NDArray[np.int64]:
        """Give the accepted records, increasing."""
        return np.flatnonzero(self._states == _ACCEPTED)

    def batch(
        self,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        ids: tuple[NDArray[np.bytes_], Sequence[str], NDArray[np.uint64]],
    ) -> EventBatch:
        """Give some records as events.

        Parameters
        ----------
        rows
            Shape `(n,)`: which of them.
        positions
            Where all records stand in their source.
        ids
            Customer ids, event ids and their keys, of the chosen records only.
        """
        customer_ids, event_ids, keys = ids
        return EventBatch(
            customer_ids=customer_ids,
            event_ids=event_ids,
            event_keys=keys,
            times_ms=self.times_ms[rows],
            families=self.families[rows],
            amounts=self.amounts[rows],
            satisfactions=self.satisfactions[rows],
            positions=np.asarray(positions, dtype=np.int64)[rows],
        )


class ColumnReader:
    """Reads typed records of one shape into columns.

    Parameters
    ----------
    policy
        What event types mean.
    wire_event
        How to reach the fields of a typed record.
    """

    def __init__(self, policy: Policy, wire_event: WireEvent) -> None:
        self._policy = policy
        self._getters = wire_event.getters
        self._marks = [wire_event.getters[(mark,)] for mark in SEGMENT_MARKS]
        self._rules = RuleColumns(policy)
        self._codes = {name: code for code, name in enumerate(self._rules.type_names)}

    def are_segment_calls(self, records: list[Any], kinds: list[str | None]) -> list[bool]:
        """Tell Segment calls from native events with the type of one, as `single_event.is_segment_call` does.

        Parameters
        ----------
        records
            Length n: typed records.
        kinds
            Length n: what they say under `type`.
        """
        event_ids, customer_ids = self._texts_at(records, "event_id"), self._texts_at(records, "customer_id")
        return [
            kind in SEGMENT_CALL_TYPES and event_id is None and customer_id is None and self._is_marked(record)
            for record, kind, event_id, customer_id in zip(records, kinds, event_ids, customer_ids, strict=True)
        ]

    def _is_marked(self, record: Any) -> bool:
        # A loop, for nearly every call has the first mark, and a generator costs as much as all the rest.
        for mark in self._marks:  # noqa: SIM110
            if mark(record) is not None:
                return True
        return False

    def read(self, records: list[Any], indices: NDArray[np.int64], shape: Shape, columns: EventColumns) -> None:
        """Accept the plain records of one shape, ignore the unmapped ones, and leave the rest doubtful.

        Parameters
        ----------
        records
            Length n: typed records.
        indices
            Shape `(n,)`: their places in the batch.
        shape
            Where they have their fields.
        columns
            Where they go.
        """
        types = self._texts_at(records, shape.type)
        if shape is TRACK:
            records, indices, types = _chosen([bool(name) for name in types], records, indices, types)
        else:
            types = [name or self._policy.default_event_type for name in types]
        codes = _looked_up(self._codes, types, _UNMAPPED)
        is_mapped = codes != _UNMAPPED
        if not is_mapped.all():
            columns.ignore(indices[~is_mapped], IgnoredReason.UNMAPPED_TYPE)
            records, indices, types = _chosen(is_mapped.tolist(), records, indices, types)
            codes = codes[is_mapped]
        customer_ids = self._texts_at(records, shape.customer_id)
        if shape is TRACK and (None in customer_ids or "" in customer_ids):
            is_known = np.array([customer_id not in (None, "") for customer_id in customer_ids], dtype=np.bool_)
            columns.ignore(indices[~is_known], IgnoredReason.NO_CUSTOMER)
            records, indices, types = _chosen(is_known.tolist(), records, indices, types)
            codes = codes[is_known]
            customer_ids = self._texts_at(records, shape.customer_id)
        if records:
            self._fill(records, indices, shape, columns, _Known(types, codes, customer_ids))

    def _fill(
        self, records: list[Any], indices: NDArray[np.int64], shape: Shape, columns: EventColumns, known: _Known
    ) -> None:
        customer_ids, are_customers = _checked_ids(known.customer_ids)
        event_ids, are_ids = _checked_ids(self._texts_at(records, shape.event_id))
        times_ms, are_times = read_times_ms(self._texts_at(records, shape.time))
        are_timely = times_ms <= columns.appended_ms[indices] + self._policy.future_skew_max_ms
        source = self._source(records)
        families, amounts, are_amounts = self._rules.read_amounts(known.codes, source, shape.spare_amount_paths)
        satisfactions, are_satisfactions = self._rules.read_satisfactions(known.codes, source)
        order_ids, are_orders = self._order_ids(records, shape)
        columns.put_texts(indices, Texts(customer_ids, event_ids, known.types, order_ids))
        columns.times_ms[indices] = times_ms
        columns.families[indices] = families
        columns.amounts[indices] = amounts
        columns.satisfactions[indices] = satisfactions
        is_plain = are_customers & are_ids & are_times & are_timely & are_orders & are_amounts & are_satisfactions
        columns.accept(indices[is_plain])

    def _texts_at(self, records: list[Any], *path: str) -> list[Any]:
        return [*map(self._getters[path], records)]

    def _numbers_at(self, records: Iterable[Any], path: Path) -> NDArray[np.float64]:
        """Take numbers; NaN where there is none, which JSON cannot say."""
        return np.array([*map(self._getters[path], records)], dtype=np.float64)

    def _order_ids(self, records: list[Any], shape: Shape) -> tuple[list[str | None], NDArray[np.bool_]]:
        order_ids: list[Any] = [None] * len(records)
        is_plain = np.ones(len(records), dtype=np.bool_)
        for path in shape.order_id_paths:
            own = self._texts_at(records, *path)
            if own.count(None) < len(own):
                texts, is_sound = _checked_ids(own)
                is_plain &= is_sound | np.array([not text for text in texts], dtype=np.bool_)
                order_ids = [first or text or None for first, text in zip(order_ids, texts, strict=True)]
        return order_ids, is_plain

    def _source(self, records: list[Any]) -> Source:
        def chosen(rows: NDArray[np.int64]) -> list[Any]:
            return records if len(rows) == len(records) else [records[row] for row in rows.tolist()]

        return Source(
            lambda path, rows: self._numbers_at(chosen(rows), path), lambda rows: self._rates_of(chosen(rows))
        )

    def _rates_of(self, records: list[Any]) -> NDArray[np.float64]:
        own, below = self._texts_at(records, "currency"), self._texts_at(records, "properties", "currency")
        if any(below) or None in own:
            own = [first or second or "" for first, second in zip(own, below, strict=True)]
        return _looked_up(self._rules.rates, own, np.nan)


class _Known(NamedTuple):
    """What is known of mapped records: their types, the codes of these, and raw customer ids."""

    types: list[str]
    codes: NDArray[np.int64]
    customer_ids: list[Any]


def _chosen(
    flags: list[bool], records: list[Any], indices: NDArray[np.int64], types: list[Any]
) -> tuple[list[Any], NDArray[np.int64], list[Any]]:
    if all(flags):
        return records, indices, types
    return [*compress(records, flags)], indices[np.array(flags, dtype=np.bool_)], [*compress(types, flags)]


def _looked_up(values: Mapping[str, _Number], names: list[str], otherwise: _Number) -> NDArray[Any]:
    """Look names up, of which most batches have one or few."""
    if len(set(names)) == 1:
        return np.full(len(names), values.get(names[0], otherwise))
    return np.array([values.get(name, otherwise) for name in names], dtype=type(otherwise))


def _text_of(value: str | int | None) -> str:
    if isinstance(value, int):
        return str(value) if value.bit_length() < _ID_BITS_MAX else _OVERLONG_ID
    return value or ""


def _checked_ids(values: list[Any]) -> tuple[list[str], NDArray[np.bool_]]:
    """Give ids as texts, and which of them `check_id` allows."""
    try:
        joined = "".join(values)
    except TypeError:
        values = [_text_of(value) for value in values]
        joined = "".join(values)
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    if not joined.isascii():
        for index, text in enumerate(values):
            if not text.isascii():
                lengths[index] = len(text.encode())
    is_plain = (lengths > 0) & (lengths <= ID_BYTES_MAX)
    if "\0" in joined:
        is_plain &= np.array(["\0" not in text for text in values], dtype=np.bool_)
    return values, is_plain
