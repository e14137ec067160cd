"""Why a score is what it is: its additive terms against a typical customer's, in business words (S20)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

REASONS_MAX = 5
"""Most reasons that one change tells."""

Describer = Callable[[float, float, str], str]
"""Turns a term's value, its typical value and the reporting currency into a sentence part."""

_CENTS_BELOW = 10.0
_PLAIN_BELOW = 1e15


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
        `describe(value, typical, currency) -> str`: what the term says of a customer. Value and typical value are in
        units of the score (weight times basis); the currency is an ISO 4217 code.
    """

    name: str
    weight: float
    describe: Describer


class Reason(NamedTuple):
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
    reasons = [
        Reason(term.name, contribution, term.describe(value, value - contribution, currency))
        for term, value, contribution in zip(terms, term_values, contributions, strict=False)
    ]
    # Two terms are the common case, and a sort would cost a third of the call.
    if len(reasons) == 2:
        if abs(reasons[1].contribution) > abs(reasons[0].contribution):
            reasons.reverse()
        return reasons
    reasons.sort(key=_size, reverse=True)
    return reasons[:REASONS_MAX]


def _size(reason: Reason) -> float:
    return abs(reason.contribution)


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
    >>> describe(0.5 * math.log1p(182.0), 0.5 * math.log1p(41.0), "USD")
    'spent about 182 USD, recent months counting most; a typical customer about 41 USD'
    """

    def describe(value: float, typical: float, currency: str) -> str:
        own = format_amount(_spend_of(value / weight))
        usual = format_amount(_spend_of(typical / weight))
        return f"spent about {own} {currency}, {emphasis}; a typical customer about {usual} {currency}"

    return describe


def spend_recent_months(weight: float) -> Term:
    """Make the term of the spend that decays with a half-life of about a quarter of a year."""
    return Term("spend_recent_months", weight, describe_spend(weight, "recent months counting most"))


def spend_past_year(weight: float) -> Term:
    """Make the term of the spend that decays with a half-life of about a year."""
    return Term("spend_past_year", weight, describe_spend(weight, "older purchases counting less year by year"))


def format_amount(amount: float) -> str:
    """Write an amount as people say it: cents only when it is small.

    Examples
    --------
    >>> [format_amount(amount) for amount in (0.0, 3.5, 41.2, 12345.6)]
    ['0', '3.50', '41', '12,346']
    """
    if amount >= _PLAIN_BELOW:
        return f"{amount:.1e}"
    if amount >= _CENTS_BELOW:
        return f"{amount:,.0f}"
    return f"{amount:.2f}" if amount else "0"


def _spend_of(log_spend: float) -> float:
    try:
        return max(0.0, math.expm1(log_spend))
    except OverflowError:
        return math.inf
