"""Native events that are flat JSON, by the rules of one event: all at once, doubtful ones left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.decoded import IgnoredReason
from stream_app.adapters.codec.event_columns import EventColumns, Texts
from stream_app.adapters.codec.flat_scan import INTEGER, NOTHING, TEXT, FlatFields, Words, scan_records
from stream_app.adapters.codec.rule_columns import RuleColumns, Source
from stream_app.adapters.codec.single_event import NATIVE, SEGMENT_CALL_TYPES
from stream_app.adapters.codec.time_columns import TIME_WIDTH, read_epoch_times, read_packed_times
from stream_app.adapters.codec.wire_event import Path, number_paths
from stream_app.domain.events import ID_BYTES_MAX, IdsOnDemand, event_keys
from stream_app.domain.policy import Policy

_FIELDS = (NATIVE.customer_id, NATIVE.event_id, NATIVE.type, NATIVE.time, "currency", "order_id", "properties")
_CUSTOMER_ID, _EVENT_ID, _TYPE, _TIME, _CURRENCY, _ORDER_ID, _PROPERTIES = range(len(_FIELDS))
_UNMAPPED = -1
_EPOCH_DIGITS_MAX = 15


class SpannedTexts(IdsOnDemand):
    """Texts that stand in a longer one, made when somebody asks.

    Parameters
    ----------
    content
        UTF-8.
    begins, ends
        Shape `(n,)`: where each begins and ends.
    """

    def __init__(self, content: bytes, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self._content, self._begins, self._ends = content, begins, ends

    def __len__(self) -> int:
        return len(self._begins)

    def _one(self, index: int) -> str:
        return self._content[self._begins[index] : self._ends[index]].decode()

    def _some(self, index: slice) -> Sequence[str]:
        return SpannedTexts(self._content, self._begins[index], self._ends[index])

    def __iter__(self) -> Iterator[str]:
        """Give all texts, which is faster than one by one."""
        return (text.decode() for text in self._cut(self._begins, self._ends))

    def pick(self, indices: Sequence[int]) -> list[bytes]:
        """Give several texts at once, in UTF-8."""
        return self._cut(self._begins[indices], self._ends[indices])

    def _cut(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        return [self._content[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class FlatEvents:
    """Texts of the accepted events; all else of them is in the columns of the batch.

    Parameters
    ----------
    indices
        Shape `(n,)`, increasing: which records.
    customer_ids
        Shape `(n,)`, dtype `S<width of the longest>`.
    event_ids
        Length n.
    event_keys
        Shape `(n,)`, uint64.
    types, order_ids
        Length n.
    """

    indices: NDArray[np.int64]
    customer_ids: NDArray[np.bytes_]
    event_ids: SpannedTexts
    event_keys: NDArray[np.uint64]
    types: list[str]
    order_ids: list[str | None]

    @property
    def texts(self) -> Texts:
        """All of them as lists, of all that is accepted."""
        customer_ids = [own.decode() for own in self.customer_ids.tolist()]
        return Texts(customer_ids, list(self.event_ids), self.types, self.order_ids)


class FlatReader:
    """Reads flat native events into columns.

    Parameters
    ----------
    policy
        What event types mean.
    """

    def __init__(self, policy: Policy) -> None:
        self._skew_max_ms = policy.future_skew_max_ms
        self._rules = RuleColumns(policy)
        names = self._rules.type_names
        self._default_code = names.index(policy.default_event_type) if policy.default_event_type in names else _UNMAPPED
        # A call that the policy does not map is not for this reader either.
        calls = sorted(SEGMENT_CALL_TYPES.difference(names))
        self._types = Words.of([*names, *calls])
        # The last one is for what is not found.
        self._is_call = np.array([*(name in SEGMENT_CALL_TYPES for name in (*names, *calls)), False], dtype=np.bool_)
        self._currencies = Words.of(list(self._rules.rates))
        self._rates = np.array([*self._rules.rates.values(), np.nan])
        # A flat record has nothing at a longer path.
        paths = [path for path in number_paths(policy) if len(path) == 1]
        self._number_fields: dict[Path, int] = {path: len(_FIELDS) + place for place, path in enumerate(paths)}
        self._fields = Words.of([*_FIELDS, *(path[0] for path in paths)])
        self._is_clear = not {path[0] for path in paths}.intersection(_FIELDS)

    def read(self, records: Sequence[bytes], columns: EventColumns) -> FlatEvents | None:
        """Accept plain events, ignore those of unmapped types, and leave the rest doubtful.

        Parameters
        ----------
        records
            Length n.
        columns
            Where numbers and verdicts go; all records are doubtful yet.

        Returns
        -------
        FlatEvents | None
            None when no record was accepted.
        """
        if not records or not self._is_clear:
            return None
        fields = scan_records(records, self._fields)
        codes, is_open = self._codes(fields)
        columns.ignore(np.flatnonzero(is_open & (codes == _UNMAPPED)), IgnoredReason.UNMAPPED_TYPE)
        is_open &= (codes != _UNMAPPED) & (fields.kinds[_PROPERTIES] == NOTHING)
        is_open &= _are_ids(fields, _CUSTOMER_ID) & _are_ids(fields, _EVENT_ID)
        is_open &= _are_ids(fields, _ORDER_ID) | _are_empty(fields, _ORDER_ID)
        rows = np.flatnonzero(is_open)
        rows = rows[self._fill(fields, rows, codes[rows], columns)]
        if not len(rows):
            return None
        columns.accept(rows)
        return self._events(fields, rows, codes[rows])

    def _codes(self, fields: FlatFields) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give the codes of types, and of which records they are sure; each of shape `(n,)`."""
        codes, is_empty = fields.find(_TYPE, self._types), _are_empty(fields, _TYPE)
        is_sure = fields.is_flat & (is_empty | ((fields.kinds[_TYPE] == TEXT) & ~self._is_call[codes]))
        codes[is_empty] = self._default_code
        return codes, is_sure

    def _fill(
        self, fields: FlatFields, rows: NDArray[np.int64], codes: NDArray[np.int64], columns: EventColumns
    ) -> NDArray[np.bool_]:
        """Enter the numbers of some records, and tell which of these are plain."""
        times_ms, is_plain = _read_times(fields, rows)
        is_plain &= times_ms <= columns.appended_ms[rows] + self._skew_max_ms
        numbers = {path: fields.numbers(field)[rows] for path, field in self._number_fields.items()}
        for path, field in self._number_fields.items():
            is_plain &= (fields.kinds[field][rows] == NOTHING) | ~np.isnan(numbers[path])
        rates = self._rates_of(fields)[rows]
        nothing = np.full(len(rows), np.nan)
        source = Source(lambda path, chosen: numbers.get(path, nothing)[chosen], lambda chosen: rates[chosen])
        families, amounts, are_amounts = self._rules.read_amounts(codes, source, NATIVE.spare_amount_paths)
        satisfactions, are_satisfactions = self._rules.read_satisfactions(codes, source)
        columns.times_ms[rows] = times_ms
        columns.families[rows] = families
        columns.amounts[rows] = amounts
        columns.satisfactions[rows] = satisfactions
        return is_plain & are_amounts & are_satisfactions

    def _rates_of(self, fields: FlatFields) -> NDArray[np.float64]:
        is_text = (fields.kinds[_CURRENCY] == TEXT) | _are_empty(fields, _CURRENCY)
        return np.where(is_text, self._rates[fields.find(_CURRENCY, self._currencies)], np.nan)

    def _events(self, fields: FlatFields, rows: NDArray[np.int64], codes: NDArray[np.int64]) -> FlatEvents:
        names = self._rules.type_names
        return FlatEvents(
            indices=rows,
            customer_ids=_ids_of(fields, _CUSTOMER_ID, rows),
            event_ids=_texts_of(fields, _EVENT_ID, rows),
            event_keys=event_keys(_ids_of(fields, _EVENT_ID, rows)),
            types=[names[code] for code in codes.tolist()],
            order_ids=[text or None for text in _texts_of(fields, _ORDER_ID, rows)]
            if fields.ends[_ORDER_ID].any()
            else [None] * len(rows),
        )


def _are_empty(fields: FlatFields, field: int) -> NDArray[np.bool_]:
    """Tell where a field is missing, null or empty text."""
    return np.asarray(fields.begins[field] == fields.ends[field])


def _are_ids(fields: FlatFields, field: int) -> NDArray[np.bool_]:
    """Tell where a field holds an id that `check_id` allows; there is no NUL in a flat text."""
    kinds, lengths = fields.kinds[field], fields.ends[field] - fields.begins[field]
    return np.asarray(((kinds == TEXT) | (kinds == INTEGER)) & (lengths > 0) & (lengths <= ID_BYTES_MAX))


def _ids_of(fields: FlatFields, field: int, rows: NDArray[np.int64]) -> NDArray[np.bytes_]:
    width = int((fields.ends[field][rows] - fields.begins[field][rows]).max())
    return fields.packed(field, rows, width).view(f"S{width}").reshape(-1)


def _texts_of(fields: FlatFields, field: int, rows: NDArray[np.int64]) -> SpannedTexts:
    return SpannedTexts(fields.content, fields.begins[field][rows], fields.ends[field][rows])


def _read_times(fields: FlatFields, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give times of some records in milliseconds since 1970-01-01 UTC, and whether they could be read."""
    kinds, lengths = fields.kinds[_TIME][rows], (fields.ends[_TIME] - fields.begins[_TIME])[rows]
    times_ms, is_read = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.bool_)
    texts = np.flatnonzero((kinds == TEXT) & (lengths <= TIME_WIDTH))
    if len(texts):
        packed = fields.packed(_TIME, rows[texts], TIME_WIDTH)
        times_ms[texts], is_read[texts] = read_packed_times(packed, lengths[texts])
    whole = np.flatnonzero((kinds == INTEGER) & (lengths <= _EPOCH_DIGITS_MAX))
    if len(whole):
        times_ms[whole], is_read[whole] = read_epoch_times(fields.numbers(_TIME)[rows[whole]].astype(np.int64))
    return times_ms, is_read
