"""What a policy says of event types, for many events at once: families, amounts, satisfactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_event import Path
from stream_app.adapters.event_rules import classify
from stream_app.domain.events import Family
from stream_app.domain.policy import Policy

_NO_PATH = -1
_MONEY_FAMILIES = (Family.PURCHASE, Family.REFUND)

Rows = NDArray[np.int64]


class Source(NamedTuple):
    """Where numbers come from.

    Parameters
    ----------
    numbers
        Gives the numbers at a path of some rows; NaN where there is none.
    rates
        Gives units of the reporting currency for one of the currency of each of some rows; NaN where that is not known.
    """

    numbers: Callable[[Path, Rows], NDArray[np.float64]]
    rates: Callable[[Rows], NDArray[np.float64]]


class RuleColumns:
    """The rules of a policy's event types, by the code of a type: its place in `policy.event_rules`.

    Parameters
    ----------
    policy
        What event types mean.
    """

    def __init__(self, policy: Policy) -> None:
        self.type_names = list(policy.event_rules)
        self.rates: dict[str, float] = {**policy.currency_rates, "": 1.0, policy.reporting_currency: 1.0}
        self._amount_max = policy.amount_max
        self._rules = list(policy.event_rules.values())
        self._families = np.array([rule.family for rule in self._rules], dtype=np.uint8)
        self._fixed_amounts = np.zeros(len(self._rules))
        self._path_numbers = np.full(len(self._rules), _NO_PATH)
        money_rules = [rule for rule in self._rules if rule.family in _MONEY_FAMILIES and rule.fixed_value is None]
        self._amount_paths = list(dict.fromkeys(rule.amount_path or () for rule in money_rules))
        for code, rule in enumerate(self._rules):
            if rule.fixed_value is not None:
                self._families[code], self._fixed_amounts[code] = classify(rule.family, rule.fixed_value)
            elif rule.family in _MONEY_FAMILIES:
                self._path_numbers[code] = self._amount_paths.index(rule.amount_path or ())

    def read_amounts(
        self, codes: Rows, source: Source, spare_paths: tuple[Path, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_]]:
        """Read families and amounts.

        Parameters
        ----------
        codes
            Shape `(n,)`: of the types of events.
        source
            Where their numbers come from.
        spare_paths
            Where else to look for an amount that is not at the policy's path.

        Returns
        -------
        families, amounts
            Shape `(n,)`, as in `EventBatch`.
        is_plain
            Shape `(n,)`: False where an amount is missing or not believed.
        """
        families, amounts = self._families[codes], self._fixed_amounts[codes]
        is_plain = np.ones(len(codes), dtype=np.bool_)
        path_numbers = self._path_numbers[codes]
        for path_number, path in enumerate(self._amount_paths):
            rows = np.flatnonzero(path_numbers == path_number)
            if not len(rows):
                continue
            values = source.numbers(path, rows) if path else np.full(len(rows), np.nan)
            for spare_path in spare_paths:
                missing = np.flatnonzero(np.isnan(values))
                if len(missing):
                    values[missing] = source.numbers(spare_path, rows[missing])
            with np.errstate(over="ignore", invalid="ignore"):
                converted = values * source.rates(rows)
            is_plain[rows] = np.abs(converted) <= self._amount_max
            amounts[rows] = np.abs(converted)
            is_reversed = (converted < 0) & (families[rows] == Family.PURCHASE)
            families[rows[is_reversed]] = Family.REFUND
        return families, amounts, is_plain

    def read_satisfactions(self, codes: Rows, source: Source) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Read satisfactions in [0, 1], NaN where nothing is said, and whether each is in its range; shape `(n,)`."""
        satisfactions = np.full(len(codes), np.nan)
        is_plain = np.ones(len(codes), dtype=np.bool_)
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            rule = self._rules[code]
            if rule.satisfaction_path is None:
                continue
            rows = np.flatnonzero(codes == code)
            values = source.numbers(rule.satisfaction_path, rows)
            worst, best = rule.satisfaction_range
            satisfactions[rows] = (values - worst) / (best - worst)
            is_plain[rows] = np.isnan(values) | ((values >= min(worst, best)) & (values <= max(worst, best)))
        return satisfactions, is_plain
