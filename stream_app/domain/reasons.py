"""Why a score is what it is: its additive terms against a typical customer's, in business words (S20)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

REASONS_MAX = 5
"""Most reasons that one change tells."""
UNTOLD = -1
"""Stands for a term that does not count yet, and is not told."""

Describer = Callable[[NDArray[np.float64], NDArray[np.float64], str], list[str]]
"""Turns a term's values, its typical values, both of shape `(n,)`, and the reporting currency into n sentence parts."""

_TYPICAL_DECIMALS = 9
_TYPICALS_KEPT = 16
_PHRASES_KEPT = 2048
_COMMAS_FROM = 1000
_CENT = 0.01
_CENTS_BELOW = 10.0
_PLAIN_BELOW = 1e15
_LOG_SPEND_MAX = 700.0
_WHOLE_BELOW = 999.5
# Writing an integer takes longer than finding it written.
_WHOLE_AMOUNTS = tuple(map(str, range(1000)))


class Evidence(IntEnum):
    """What a scoring has learned from."""

    NONE = 0
    SNAPSHOTS = 1
    LABELS = 2


@dataclass(frozen=True, slots=True)
class Term:
    """One additive term of a score.

    Parameters
    ----------
    name
        Stable identifier in snake case, part of the wire contract.
    weight
        What the term's basis is multiplied by; not 0 where `describe` divides by it.
    describe
        `describe(values, typicals, currency) -> list[str]`: what the term says of customers. Values and typical values
        are in units of the score (weight times basis); the currency is an ISO 4217 code.
    since
        From which evidence on the term counts; before, its weight is 0 and it is not told.
    is_log_amount
        The basis is log1p of an amount in amount units; `describe` is given it in the reporting currency.
    """

    name: str
    weight: float
    describe: Describer
    since: Evidence = Evidence.NONE
    is_log_amount: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """In what the terms of an axis are measured.

    Parameters
    ----------
    weights
        One for each term: those of the scoring in force.
    amount_unit
        In what amounts are counted, reporting currency.
    """

    weights: tuple[float, ...]
    amount_unit: float


class Reason(TypedDict):
    """One term of a score as it is told: its name, its contribution in units of the score, and its words."""

    term: str
    contribution: float
    text: str


def explain(
    terms: Sequence[Term], term_values: Sequence[float], contributions: Sequence[float], currency: str
) -> list[Reason]:
    """Tell the terms of one score, the largest contribution in either direction first.

    Parameters
    ----------
    terms
        The axis's terms, in their order.
    term_values
        At least as many values, in units of the score; what comes after the axis's own terms is not read.
    contributions
        Likewise: each term minus its population mean.
    currency
        ISO 4217 code of the reporting currency.

    Returns
    -------
    list[Reason]
        At most `REASONS_MAX`; terms of equal size stand in their own order.
    """
    return explain_columns(terms, np.array([term_values]), np.array([contributions]), currency)[0]


def explain_columns(
    terms: Sequence[Term],
    term_values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    currency: str,
    scale: Scale | None = None,
) -> list[list[Reason]]:
    """Tell the terms of many scores of one axis, as `explain` does; parameters as in `explanations`.

    Returns
    -------
    list[list[Reason]]
        Length n.
    """
    told = explanations(terms, term_values, contributions, currency, scale)
    names, gains = [term.name for term in terms], told.gains.T.tolist()
    return [
        [
            Reason(term=names[place], contribution=gains[place][row], text=told.texts[place][row])
            for place in order
            if place != UNTOLD
        ]
        for row, order in enumerate(told.orders.tolist())
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Explanations:
    """What is to be told of n scores of one axis.

    Parameters
    ----------
    gains
        Shape `(n, n_terms)`: contributions.
    texts
        For each term, n sentence parts.
    orders
        Shape `(n, n_told_max)`, int8: which terms are told, the largest contribution in either direction first, at most
        `REASONS_MAX`; `UNTOLD` in the place of a term that is not.
    """

    gains: NDArray[np.float64]
    texts: list[list[str]]
    orders: NDArray[np.int8]


def explanations(
    terms: Sequence[Term],
    term_values: NDArray[np.float64],
    contributions: NDArray[np.float64],
    currency: str,
    scale: Scale | None = None,
) -> Explanations:
    """Put the terms of many scores of one axis into words and into order.

    Parameters
    ----------
    terms
        The axis's terms, in their order.
    term_values, contributions
        Shape `(n, n_terms_max)`, with at least as many columns as there are terms.
    currency
        ISO 4217 code of the reporting currency.
    scale
        What the terms were weighted with and count amounts in; None: their own weights, and the reporting currency.

    Returns
    -------
    Explanations
        Of the n scores.
    """
    values = term_values[:, : len(terms)]
    gains = contributions[:, : len(terms)]
    # Typical values are the same for all customers but for the last bits; without these, words can be kept.
    typicals = np.round(values - gains, _TYPICAL_DECIMALS)
    told_values = values
    if scale is not None:
        told_values, typicals = (_in_currency(terms, part, scale) for part in (values, typicals))
    texts = [
        term.describe(np.ascontiguousarray(told_values[:, place]), np.ascontiguousarray(typicals[:, place]), currency)
        for place, term in enumerate(terms)
    ]
    orders = np.argsort(-np.abs(gains), axis=1, kind="stable")[:, :REASONS_MAX]
    # A term that does not count yet says nothing.
    waiting = [place for place, term in enumerate(terms) if term.since > Evidence.NONE]
    is_told = np.ones(values.shape, dtype=np.bool_)
    is_told[:, waiting] = (values[:, waiting] != 0.0) | (gains[:, waiting] != 0.0)
    if not is_told.all():
        orders = np.where(np.take_along_axis(is_told, orders, axis=1), orders, UNTOLD)
    return Explanations(gains, texts, orders.astype(np.int8))


def _in_currency(terms: Sequence[Term], values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Turn terms of log amounts into the same with their own weights and amounts in the reporting currency."""
    told = values.copy()
    for place, (term, weight) in enumerate(zip(terms, scale.weights, strict=True)):
        if term.is_log_amount and weight != 0.0 and (weight != term.weight or scale.amount_unit != 1.0):
            logs = np.minimum(values[:, place] / weight, _LOG_SPEND_MAX)
            told[:, place] = np.round(term.weight * np.log1p(np.expm1(logs) * scale.amount_unit), _TYPICAL_DECIMALS)
    return told


def describe_each(describe: Callable[[float, float, str], str]) -> Describer:
    """Make a describer from a function of one value, its typical value and the currency."""

    def describe_all(values: NDArray[np.float64], typicals: NDArray[np.float64], currency: str) -> list[str]:
        pairs = zip(values.tolist(), typicals.tolist(), strict=True)
        return [describe(value, typical, currency) for value, typical in pairs]

    return describe_all


def describe_spend(weight: float, emphasis: str) -> Describer:
    """Make the describer of a term `weight * log1p(decayed spend)`.

    Parameters
    ----------
    weight
        The term's weight, not 0.
    emphasis
        Which spending counts how much, as `recent months counting most`.

    Returns
    -------
    Describer
        Its words name the decayed spend that the row holds; the typical one is that of the mean logarithm.

    Examples
    --------
    >>> describe = describe_spend(0.5, "recent months counting most")
    >>> describe(0.5 * np.log1p([182.0]), 0.5 * np.log1p([41.0]), "USD")
    ['spent about 182 USD, recent months counting most; a typical customer about 41 USD']
    """
    return _describer(weight, "spent about", f", {emphasis}")


def _describer(weight: float, verb: str, which: str) -> Describer:
    @lru_cache(maxsize=_TYPICALS_KEPT)
    def phrases_beside(typical: float, currency: str) -> _Phrases:
        amount = _amounts_of(np.array([typical]), weight)[0]
        ending = f" {currency}{which}; a typical customer about {format_amount(amount)} {currency}"
        return _Phrases(f"{verb} ", ending)

    def describe(values: NDArray[np.float64], typicals: NDArray[np.float64], currency: str) -> list[str]:
        amounts = [
            _WHOLE_AMOUNTS[round(amount)] if _CENTS_BELOW <= amount < _WHOLE_BELOW else format_amount(amount)
            for amount in _amounts_of(values, weight)
        ]
        if len(typicals) and (typicals == typicals[0]).all():
            phrases = phrases_beside(float(typicals[0]), currency)
            return [phrases[amount] for amount in amounts]
        return [
            phrases_beside(typical, currency)[amount]
            for amount, typical in zip(amounts, typicals.tolist(), strict=True)
        ]

    return describe


class _Phrases(dict[str, str]):
    """Sentence parts by the amount in them: the same amounts come again and again."""

    def __init__(self, beginning: str, ending: str) -> None:
        super().__init__()
        self._beginning, self._ending = beginning, ending

    def __missing__(self, amount: str) -> str:
        if len(self) >= _PHRASES_KEPT:
            self.clear()
        phrase = self[amount] = f"{self._beginning}{amount}{self._ending}"
        return phrase


def _amounts_of(values: NDArray[np.float64], weight: float) -> list[float]:
    """Give the amounts that terms `weight * log1p(amount)` stand for."""
    with np.errstate(over="ignore"):
        logs = values / weight
    amounts: list[float] = np.where(logs < _LOG_SPEND_MAX, np.expm1(np.minimum(logs, _LOG_SPEND_MAX)), np.inf).tolist()
    return amounts


def spend_recent_months(weight: float) -> Term:
    """Make the term of the spend that decays with a half-life of about a quarter of a year."""
    describe = describe_spend(weight, "recent months counting most")
    return Term("spend_recent_months", weight, describe, is_log_amount=True)


def spend_past_year(weight: float) -> Term:
    """Make the term of the spend that decays with a half-life of about a year."""
    describe = describe_spend(weight, "older purchases counting less year by year")
    return Term("spend_past_year", weight, describe, is_log_amount=True)


def spend_expected(weight: float, days: int) -> Term:
    """Make the term of the spend that the purchase model expects."""
    describe = describe_forecast(weight, f"in the next {days} days, from how often and how much was bought so far")
    return Term("spend_expected", weight, describe, Evidence.SNAPSHOTS, is_log_amount=True)


def spend_learned(weight: float, days: int) -> Term:
    """Make the term of the spend that was learned from what customers did next."""
    describe = describe_forecast(weight, f"in the next {days} days, from what similar customers did next")
    return Term("spend_learned", weight, describe, Evidence.LABELS, is_log_amount=True)


def describe_forecast(weight: float, grounds: str) -> Describer:
    """Make the describer of a term `weight * log1p(expected spend)`.

    Examples
    --------
    >>> describe = describe_forecast(1.0, "in the next 84 days")
    >>> describe(np.log1p([52.0]), np.log1p([11.0]), "USD")
    ['expected to spend about 52 USD in the next 84 days; a typical customer about 11 USD']
    """
    return _describer(weight, "expected to spend about", f" {grounds}")


def describe_leaning(subject: str) -> Describer:
    """Make the describer of a term in log-odds: which way it leans against a typical customer.

    Examples
    --------
    >>> describe_leaning("what was returned")(np.array([-0.5]), np.zeros(1), "USD")
    ['what was returned speaks against spending more']
    """
    phrases = tuple(f"{subject} speaks {side} spending more" for side in ("against", "for"))

    def describe(values: NDArray[np.float64], typicals: NDArray[np.float64], currency: str) -> list[str]:
        del currency
        return [phrases[is_above] for is_above in (values >= typicals).tolist()]

    return describe


def format_amount(amount: float) -> str:
    """Write an amount as people say it: cents only when it is small.

    Examples
    --------
    >>> [format_amount(amount) for amount in (0.0, 3.5, 41.2, 12345.6)]
    ['0', '3.50', '41', '12,346']
    """
    if _CENTS_BELOW <= amount < _PLAIN_BELOW:
        # Formatting a float takes twice as long as rounding it and writing the integer.
        whole = round(amount)
        return str(whole) if whole < _COMMAS_FROM else f"{whole:,}"
    if amount < _CENTS_BELOW:
        return f"{amount:.2f}" if amount >= _CENT else "0"
    return f"{amount:.1e}"
