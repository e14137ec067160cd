"""Reasons tell a score's terms in words, the one that matters most first."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.reasons import (
    REASONS_MAX,
    Term,
    describe_each,
    describe_spend,
    explain,
    explain_columns,
    format_amount,
    spend_past_year,
    spend_recent_months,
)


def plain_term(name: str) -> Term:
    return Term(name, 1.0, describe_each(lambda value, typical, currency: f"{value:g} against {typical:g} {currency}"))


def test_the_largest_contribution_in_either_direction_comes_first() -> None:
    terms = [plain_term(name) for name in "abc"]
    reasons = explain(terms, [1.0, 2.0, 3.0], [0.5, -2.0, 1.0], "USD")
    assert [reason["term"] for reason in reasons] == ["b", "c", "a"]
    assert reasons[0] == {"term": "b", "contribution": -2.0, "text": "2 against 4 USD"}


def test_terms_of_equal_size_keep_their_order() -> None:
    terms = [plain_term(name) for name in "abcd"]
    reasons = explain(terms, [0.0] * 4, [1.0, -1.0, 1.0, -1.0], "USD")
    assert [reason["term"] for reason in reasons] == ["a", "b", "c", "d"]


def test_no_more_reasons_are_told_than_people_read() -> None:
    terms = [plain_term(str(place)) for place in range(9)]
    reasons = explain(terms, [0.0] * 9, [float(place) for place in range(9)], "USD")
    assert [reason["term"] for reason in reasons] == ["8", "7", "6", "5", "4"]
    assert len(reasons) == REASONS_MAX


def test_columns_past_the_terms_of_the_axis_are_not_read() -> None:
    (reason,) = explain([plain_term("a")], [1.0, math.nan], [1.0, math.nan], "USD")
    assert reason["term"] == "a"


def test_a_score_without_terms_has_no_reasons() -> None:
    assert explain([], [], [], "USD") == []
    assert explain_columns([], np.zeros((2, 1)), np.zeros((2, 1)), "USD") == [[], []]
    assert explain_columns([plain_term("a")], np.zeros((0, 1)), np.zeros((0, 1)), "USD") == []


@given(st.lists(st.tuples(*[st.floats(-20, 20)] * 4), min_size=1, max_size=5))
def test_many_scores_are_explained_as_each_alone(rows: list[tuple[float, float, float, float]]) -> None:
    terms = [spend_recent_months(0.5), spend_past_year(0.25)]
    values = np.array([row[:2] for row in rows])
    contributions = np.array([row[2:] for row in rows])
    together = explain_columns(terms, values, contributions, "USD")
    alone = [explain(terms, row[:2], row[2:], "USD") for row in rows]
    assert together == alone


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_a_spend_term_names_the_spend_of_the_row_and_of_a_typical_customer(weight: float) -> None:
    value, mean = weight * math.log1p(182.0), weight * math.log1p(41.0)
    (reason,) = explain([spend_recent_months(weight)], [value], [value - mean], "USD")
    assert reason["text"] == "spent about 182 USD, recent months counting most; a typical customer about 41 USD"
    (reason,) = explain([spend_past_year(weight)], [value], [value - mean], "CHF")
    assert reason["text"].startswith("spent about 182 CHF, older purchases counting less")


def test_a_customer_who_spent_nothing_is_told_so() -> None:
    describe = describe_spend(1.0, "lately")
    (text,) = describe(np.zeros(1), np.log1p([8.5]), "EUR")
    assert text == "spent about 0 EUR, lately; a typical customer about 8.50 EUR"


@pytest.mark.parametrize("value", [1e308, -1e308, 750.0, -1.0, math.inf, -math.inf])
def test_absurd_scores_still_have_words(value: float) -> None:
    (text,) = describe_spend(0.5, "lately")(np.array([value]), np.array([value]), "EUR")
    assert text.startswith("spent about ")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "0"),
        (0.004, "0"),
        (-3.0, "0"),
        (0.5, "0.50"),
        (9.99, "9.99"),
        (10.0, "10"),
        (41.4, "41"),
        (1234.5, "1,234"),
        (1e9, "1,000,000,000"),
        (1e20, "1.0e+20"),
    ],
)
def test_an_amount_is_written_as_people_say_it(amount: float, text: str) -> None:
    assert format_amount(amount) == text
