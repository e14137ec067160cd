"""Columns of a table to events, by the same rules as single records, on whole columns at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.codec.decoded import IgnoredReason
from stream_app.adapters.event_files.ids import read_texts
from stream_app.adapters.event_files.numbers import read_numbers
from stream_app.adapters.event_files.options import EventLogOptions, FileIgnoredReason
from stream_app.adapters.event_files.rows import AcceptedRows
from stream_app.adapters.event_files.text_arrays import Array, has_nul, to_mask
from stream_app.adapters.event_files.times import TimeReader, parse_timezone
from stream_app.adapters.event_rules import check_id, convert_amount, currency_rate, scale_satisfaction, shown
from stream_app.domain.errors import InvalidEventError
from stream_app.domain.events import ID_BYTES_MAX, MS_PER_SECOND, Family
from stream_app.domain.policy import EventRule, Policy
from stream_app.domain.refusals import Refusal

_MONEY_FAMILIES = (Family.PURCHASE, Family.REFUND)


@dataclass(frozen=True, slots=True, eq=False)
class _RuleColumns:
    """What the policy says of each row: shape `(n,)` each, `is_mapped` False where it says nothing."""

    is_mapped: NDArray[np.bool_]
    families: NDArray[np.uint8]
    fixed_values: NDArray[np.float64]
    needs_amount: NDArray[np.bool_]
    rules: list[EventRule | None]
    rule_codes: NDArray[np.int64]
    type_codes: NDArray[np.int32]


class Verdicts:
    """Which rows of a chunk are refused, and why; the first fault that is found of a row is the one that is told.

    Parameters
    ----------
    row_count
        Rows of the chunk.
    """

    def __init__(self, row_count: int) -> None:
        self.is_open = np.ones(row_count, dtype=np.bool_)
        self.faults: dict[int, tuple[Refusal, str]] = {}
        self.ignored: Counter[str] = Counter()

    def refuse(self, mask: NDArray[np.bool_], code: Refusal, describe: Callable[[int], str]) -> None:
        """Refuse the open rows of a mask; `describe` gives the message for a row."""
        for index in np.flatnonzero(mask & self.is_open).tolist():
            self.faults[index] = (code, describe(index))
            self.is_open[index] = False

    def refuse_one(self, index: int, error: InvalidEventError) -> None:
        """Refuse a row by the error that the rules for one event gave."""
        if self.is_open[index]:
            self.faults[index] = (Refusal(error.code), str(error))
            self.is_open[index] = False

    def ignore(self, mask: NDArray[np.bool_], reason: str) -> None:
        """Ignore the open rows of a mask."""
        chosen = mask & self.is_open
        count = int(np.count_nonzero(chosen))
        if count:
            self.ignored[reason] += count
            self.is_open &= ~chosen


@dataclass(frozen=True, slots=True, eq=False)
class NormalisedColumns:
    """Rows of a table, judged; indices count the rows of the columns that came in."""

    accepted: AcceptedRows
    faults: dict[int, tuple[Refusal, str]]
    ignored: Counter[str]
    unmapped_types: Counter[str]


class Normaliser:
    """Turns columns into events.

    Parameters
    ----------
    policy
        What event types mean, and what is believed.
    options
        Time zone, bounds and the time of the run.
    """

    def __init__(self, policy: Policy, options: EventLogOptions) -> None:
        self.policy = policy
        self.options = options
        self.timezone = parse_timezone(options.timezone)
        self._times = TimeReader(self.timezone)
        self._type_codes: dict[str, int] = {}
        self.has_types = False

    @property
    def event_types(self) -> tuple[str, ...]:
        """The event types of the log so far; one's number is its place."""
        return tuple(self._type_codes)

    def type_code(self, event_type: str) -> int:
        """Give the number of an event type in this log."""
        return self._type_codes.setdefault(event_type, len(self._type_codes))

    def normalise(self, columns: Mapping[str, Array], decimal: str | None) -> NormalisedColumns:
        """Judge rows and make events of the sound ones.

        Parameters
        ----------
        columns
            Field to an Arrow array of length n; `customer_id` and `occurred_at` are there. Text is trimmed, and
            null where empty.
        decimal
            Decimal mark of numbers in text, or None.
        """
        row_count = len(columns["customer_id"])
        verdicts = Verdicts(row_count)
        unmapped: Counter[str] = Counter()
        rules = self._rules(columns.get("type"), row_count, verdicts, unmapped)
        customer_ids = _read_ids(columns["customer_id"], "customer_id", verdicts, is_required=True)
        event_ids = pa.nulls(row_count, pa.string())
        if "event_id" in columns:
            event_ids = _read_ids(columns["event_id"], "event_id", verdicts, is_required=False)
        times_ms = self._read_times(columns["occurred_at"], verdicts)
        order_ids = None
        if "order_id" in columns:
            order_ids = _read_ids(columns["order_id"], "order_id", verdicts, is_required=False)
        amounts = self._read_amounts(columns, rules, decimal, verdicts)
        satisfactions = _read_satisfactions(columns.get("satisfaction"), rules, decimal, verdicts)
        self.bound(times_ms, verdicts)
        accepted = np.flatnonzero(verdicts.is_open)
        is_all = len(accepted) == row_count
        chosen = pa.array(accepted)

        def kept(texts: Array) -> Array:
            return texts if is_all else texts.take(chosen)

        rows = AcceptedRows(
            indices=accepted,
            customer_ids=kept(customer_ids),
            event_ids=kept(event_ids),
            times_ms=times_ms[accepted],
            families=rules.families[accepted],
            amounts=amounts[accepted],
            satisfactions=satisfactions[accepted],
            order_ids=None if order_ids is None else kept(order_ids),
            type_codes=rules.type_codes[accepted],
        )
        return NormalisedColumns(rows, verdicts.faults, verdicts.ignored, unmapped)

    def bound(self, times_ms: NDArray[np.int64], verdicts: Verdicts) -> None:
        """Ignore rows outside of the time that was asked for."""
        if self.options.not_before_ms is not None:
            verdicts.ignore(times_ms < self.options.not_before_ms, FileIgnoredReason.BEFORE_STATE)
        if self.options.to_ms is not None:
            verdicts.ignore(times_ms >= self.options.to_ms, FileIgnoredReason.AFTER_TO)

    def _rules(self, types: Array | None, row_count: int, verdicts: Verdicts, unmapped: Counter[str]) -> _RuleColumns:
        """Look up the rule of each row's type, once for each different type."""
        default = self.policy.default_event_type
        if types is None:
            names, codes = [default], np.zeros(row_count, dtype=np.int64)
        else:
            column = read_texts(types)
            verdicts.refuse(column.is_wrong, Refusal.WRONG_TYPE, lambda i: f"type = {_cell(types, i)}, must be text")
            encoded = pc.dictionary_encode(pc.fill_null(column.texts, default))
            names = encoded.dictionary.to_pylist()
            codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
        rules = [self.policy.event_rules.get(name) for name in names]
        is_mapped = np.array([rule is not None for rule in rules], dtype=np.bool_)[codes]
        if not is_mapped.all():
            counts = np.bincount(codes[verdicts.is_open], minlength=len(names))
            for name, rule, count in zip(names, rules, counts.tolist(), strict=True):
                if rule is None and count:
                    unmapped[name] += count
            verdicts.ignore(~is_mapped, IgnoredReason.UNMAPPED_TYPE)
        fixed = [np.nan if rule is None or rule.fixed_value is None else rule.fixed_value for rule in rules]
        needs = [rule is not None and rule.fixed_value is None and rule.family in _MONEY_FAMILIES for rule in rules]
        return _RuleColumns(
            is_mapped=is_mapped,
            families=np.array([0 if rule is None else rule.family for rule in rules], dtype=np.uint8)[codes],
            fixed_values=np.array(fixed, dtype=np.float64)[codes],
            needs_amount=np.array(needs, dtype=np.bool_)[codes],
            rules=rules,
            rule_codes=codes,
            type_codes=np.array(
                [self.type_code(name) if rule else -1 for name, rule in zip(names, rules, strict=True)], dtype=np.int32
            )[codes],
        )

    def _read_times(self, array: Array, verdicts: Verdicts) -> NDArray[np.int64]:
        column = self._times.read(array)
        for index, error in column.faults.items():
            verdicts.refuse_one(index, error)
        latest_ms = self.options.run_started_ms + self.policy.future_skew_max_ms

        def describe(index: int) -> str:
            ahead_seconds = (int(column.times_ms[index]) - self.options.run_started_ms) / MS_PER_SECOND
            return (
                f"event time = {_cell(array, index)} is {ahead_seconds:.0f} s ahead of the start of the run, "
                f"must be at most {self.policy.future_skew_max_ms / MS_PER_SECOND:.0f} s; mend the row"
            )

        verdicts.refuse(column.times_ms > latest_ms, Refusal.TIME_IN_FUTURE, describe)
        return column.times_ms

    def _read_amounts(
        self, columns: Mapping[str, Array], rules: _RuleColumns, decimal: str | None, verdicts: Verdicts
    ) -> NDArray[np.float64]:
        """Give signed amounts in the reporting currency: fixed values of the policy, else what the row says."""
        fixed = np.nan_to_num(rules.fixed_values)
        needs = rules.needs_amount & verdicts.is_open
        if not needs.any():
            return fixed
        array = columns.get("amount")
        if array is None:
            message = "amount: the file has no column for it; write --map amount=COLUMN"
            verdicts.refuse(needs, Refusal.MISSING_FIELD, lambda _: message)
            return fixed
        numbers = read_numbers(array, decimal)
        missing = "amount is empty, must be given; mend the row"
        verdicts.refuse(needs & numbers.is_missing, Refusal.MISSING_FIELD, lambda _: missing)

        def describe(index: int) -> str:
            return (
                f"amount = {_cell(array, index)}, must be a plain number; take out currency signs and letters"
                ", or say which decimal mark the file has with --decimal"
            )

        verdicts.refuse(needs & numbers.is_wrong, Refusal.WRONG_TYPE, describe)
        rates, currencies = self._rates(columns.get("currency"), needs, verdicts)
        with np.errstate(invalid="ignore", over="ignore"):
            converted = numbers.values * rates
        # The negation also finds NaN.
        doubtful = needs & verdicts.is_open & ~(np.abs(converted) <= self.policy.amount_max)
        for index in np.flatnonzero(doubtful).tolist():
            currency = None if currencies is None else currencies[index].as_py()
            try:
                convert_amount(float(numbers.values[index]), currency, self.policy)
            except InvalidEventError as error:
                verdicts.refuse_one(index, error)
        return np.where(rules.needs_amount, converted, fixed)

    def _rates(
        self, currencies: Array | None, needs: NDArray[np.bool_], verdicts: Verdicts
    ) -> tuple[NDArray[np.float64] | float, Array | None]:
        """Give each row's rate, NaN where the policy has none, and its currency."""
        if currencies is None:
            return 1.0, None
        column = read_texts(currencies)
        verdicts.refuse(
            needs & column.is_wrong,
            Refusal.WRONG_TYPE,
            lambda i: f"currency = {_cell(currencies, i)}, must be text as EUR",
        )
        encoded = pc.dictionary_encode(pc.fill_null(column.texts, ""))
        found = [currency_rate(name, self.policy) for name in encoded.dictionary.to_pylist()]
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        rates = np.array([np.nan if rate is None else rate for rate in found], dtype=np.float64)
        return rates[codes], column.texts


def _read_ids(array: Array, field: str, verdicts: Verdicts, *, is_required: bool) -> Array:
    """Read ids and refuse those that break the rules for ids."""
    column = read_texts(array)
    wanted = "text or a whole number below 2^53"
    verdicts.refuse(column.is_wrong, Refusal.WRONG_TYPE, lambda i: f"{field} = {_cell(array, i)}, must be {wanted}")
    texts = column.texts
    if is_required and texts.null_count:
        missing = f"{field} is empty, must be given; mend the row"
        verdicts.refuse(to_mask(texts.is_null()), Refusal.MISSING_FIELD, lambda _: missing)
    is_doubtful = has_nul(texts)
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > ID_BYTES_MAX:
        is_doubtful |= to_mask(pc.greater(pc.binary_length(texts), ID_BYTES_MAX))
    for index in np.flatnonzero(is_doubtful & verdicts.is_open).tolist():
        try:
            check_id(texts[index].as_py(), field=field)
        except InvalidEventError as error:
            verdicts.refuse_one(index, error)
    return texts


def _read_satisfactions(
    array: Array | None, rules: _RuleColumns, decimal: str | None, verdicts: Verdicts
) -> NDArray[np.float64]:
    """Give satisfactions in [0, 1]; NaN where the type has none or the cell is empty."""
    satisfactions = np.full(len(rules.rule_codes), np.nan)
    states = np.array([rule is not None and rule.satisfaction_path is not None for rule in rules.rules], dtype=np.bool_)
    if array is None or not states.any():
        return satisfactions
    chosen = states[rules.rule_codes] & verdicts.is_open
    if not chosen.any():
        return satisfactions
    numbers = read_numbers(array, decimal)
    verdicts.refuse(
        chosen & numbers.is_wrong, Refusal.WRONG_TYPE, lambda i: f"satisfaction = {_cell(array, i)}, must be a number"
    )
    for code in np.flatnonzero(states).tolist():
        rule = rules.rules[code]
        assert rule is not None
        worst, best = rule.satisfaction_range
        given = chosen & (rules.rule_codes == code) & ~numbers.is_missing & verdicts.is_open
        is_inside = (numbers.values >= min(worst, best)) & (numbers.values <= max(worst, best))
        for index in np.flatnonzero(given & ~is_inside).tolist():
            try:
                scale_satisfaction(float(numbers.values[index]), rule)
            except InvalidEventError as error:
                verdicts.refuse_one(index, error)
        sound = given & is_inside
        satisfactions[sound] = (numbers.values[sound] - worst) / (best - worst)
    return satisfactions


def _cell(array: Array, index: int) -> str:
    return shown(array[index].as_py())
