"""The report's section on predictions: the figures of the run, beside yardsticks, whatever is missing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from stream_app.backtest.prediction_notes import DRIFT_MEANING, prediction_notes
from stream_app.backtest.report.prediction_section import prediction_section
from stream_app.learning.prequential import PrequentialEvaluation
from tests.backtest.made_predictions import FIRST_DAY, make_evaluation, make_methods, make_predictions
from tests.backtest.report_page import Page


def html_of(predictions: dict[str, Any]) -> str:
    section = prediction_section(json.loads(json.dumps(predictions, allow_nan=False)), "EUR")
    assert section is not None
    return str(section)


@pytest.fixture(scope="module")
def html() -> str:
    return html_of(make_predictions())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def number(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


def test_every_method_stands_beside_the_run_with_its_means(page: Page) -> None:
    table = page.table_with("Ranked by", "spend ranked (nGini)")

    assert [row[0] for row in table[1:]] == ["this run", "RFM sum", "least last 84 days' spend", "drawing lots"]
    assert table[1][1:6] == ["0.700", "0.680", "0.500", "0.780", "0.690"]
    assert table[2][1:6] == ["0.650", "0.660", "0.520", "0.770", "0.660"]
    assert table[3][1:6] == ["\u2013", "\u2013", "\u2013", "\u2013", "0.440"]
    assert table[2][-1] == "2 of 3, 2 of 3"


def test_the_best_of_each_column_is_bold_also_where_it_is_a_yardstick(html: str) -> None:
    assert "<b>0.700</b>" in html
    assert "<b>0.520</b>" in html
    assert "<b>0.500</b>" not in html


def test_the_finding_says_whether_the_run_was_ahead(page: Page) -> None:
    assert "Ranking spend: 0.700, ahead of the best yardstick, RFM sum (0.650)" in page.headings
    methods = make_methods()
    methods["means"]["rfm_sum"]["normalized_gini"] = 0.71
    behind = Page(html_of(make_predictions(methods=methods)))
    assert "Ranking spend: 0.700, behind the best yardstick, RFM sum (0.710)" in behind.headings


def test_who_was_judged_is_told(page: Page) -> None:
    text = " ".join(page.texts)
    assert "of 1,234 buyers drawn by the hash of their id" in text
    assert "12,000 predictions have come due" in text
    all_of_them = make_methods() | {"sample_share": 1.0}
    assert "of all 1,234 buyers" in " ".join(Page(html_of(make_predictions(methods=all_of_them))).texts)


def test_expected_and_actual_spend_are_those_of_the_tables(page: Page) -> None:
    rows = make_predictions()["prequential"]["tables"]["spend_by_expectation"]
    table = page.table_with("Tenth", "expected a customer", "came")

    assert [int(number(row[-1])) for row in table[1:]] == [int(row[0]) for row in rows]
    for told, (count, expected, came) in zip(table[1:], rows, strict=True):
        assert number(told[1]) == pytest.approx(expected / count, rel=0.02, abs=0.01)
        assert number(told[2]) == pytest.approx(came / count, rel=0.02, abs=0.01)


def test_calibration_holds_every_prediction_once(page: Page) -> None:
    tables = [table for table in page.tables if table[0][0] == "Probability"]

    assert len(tables) == 2
    for table in tables:
        assert sum(int(number(row[-1])) for row in table[1:]) == 12_000


def test_the_price_of_steady_tiers_is_told(page: Page) -> None:
    text = " ".join(page.texts)
    assert "held 0.670 of the spend, by score alone 0.680: the difference is the price of steady tiers." in text
    unknown = make_methods() | {"held_cap20": None}
    assert "price of steady tiers" not in " ".join(Page(html_of(make_predictions(methods=unknown))).texts)


def test_lifts_are_those_of_the_run_and_the_yardsticks(page: Page) -> None:
    spend, growth = [table for table in page.tables if table[0][:3] == ["Tenth", "this run", "RFM sum"]]

    assert [row[1] for row in spend[1:4]] == ["50\u00a0%", "20\u00a0%", "10\u00a0%"]
    assert growth[1][1:] == ["2.50", "1.00"]
    assert "The tenth ranked highest spent 50\u00a0% of all that was spent next" in page.headings
    assert "The tenth ranked highest for growth grew 2.5 times as often as all" in page.headings


def test_figures_over_time_have_a_row_for_each_window_and_cutoff(page: Page) -> None:
    windows = page.table_with("From", "who buys (AUC)")
    cutoffs = page.table_with("Cutoff", "this run")

    assert len(windows) - 1 == 6
    assert all(row[-1] == "2,000" for row in windows[1:])
    assert [row[1] for row in cutoffs[1:]] == ["0.700", "0.710", "0.720"]


def test_every_chart_of_the_section_has_words_and_a_table(html: str) -> None:
    figures = re.findall(r'<figure class="chart">.*?</figure>', html, flags=re.DOTALL)

    assert len(figures) == 10
    for figure in figures:
        assert "<h3>" in figure
        assert "<table>" in figure
        assert 'role="img"' not in figure or re.search(r'aria-label="[^"]{40,}"', figure)


def test_alarms_are_told_with_their_day_and_what_they_mean() -> None:
    predictions = make_predictions(make_evaluation(is_getting_worse=True))
    page = Page(html_of(predictions))
    text = " ".join(page.texts)

    assert predictions["drift"]["buying"]["alarms"] == 1
    assert "1 alarm: predictions got worse" in page.headings
    assert "Predictions of who will buy had become worse by" in text
    assert DRIFT_MEANING in text
    assert "No alarm: predictions did not get worse" in Page(html_of(make_predictions())).headings


def test_a_recent_alarm_is_a_note_of_the_summary_and_an_old_one_is_not() -> None:
    predictions = make_predictions(make_evaluation(is_getting_worse=True))
    at = predictions["drift"]["buying"]["raised"][0]["at"]

    assert any(DRIFT_MEANING in note for note in prediction_notes(predictions, at))
    assert not prediction_notes(predictions, "2040-01-01T00:00:00Z")
    assert not prediction_notes(make_predictions(), at)
    assert at > f"{1970 + FIRST_DAY // 366}"


def test_few_or_no_outcomes_are_a_note() -> None:
    none = make_predictions(PrequentialEvaluation())
    few = make_predictions()
    few["prequential"]["outcomes"] = 320

    assert ["No prediction has been proven yet" in note for note in prediction_notes(none, "2024-01-01Z")] == [True]
    assert ["Only 320 predictions have come due" in note for note in prediction_notes(few, "2024-01-01Z")] == [True]
    assert prediction_notes(None, "2024-01-01Z") == prediction_notes(few, None) == []


def test_before_any_outcome_and_any_cutoff_the_section_says_so() -> None:
    page = Page(html_of(make_predictions(PrequentialEvaluation(), methods=None)))
    text = " ".join(page.texts)

    assert "No cutoff has enough buyers" in text
    assert "The first outcome comes 84 days after" in text
    assert not page.tables


def test_without_predictions_there_is_no_section() -> None:
    assert prediction_section(None, "EUR") is None


def test_figures_that_have_no_meaning_are_dashes_and_no_error() -> None:
    methods = make_methods()
    for figures in [methods["means"], *(cutoff["methods"] for cutoff in methods["cutoffs"])]:
        for each in figures.values():
            each.update(dict.fromkeys(each))
    methods |= {"spend_share_by_tenth": {}, "growth_lift_by_tenth": {}}
    predictions = make_predictions(methods=methods)
    for window in predictions["prequential"]["windows"]:
        window.update({name: None for name in window if name not in ("from", "outcomes")})
    page = Page(html_of(predictions))

    assert "Beside what every analyst has" in page.headings
    assert set(page.table_with("Ranked by")[1][1:]) == {"\u2013"}


@pytest.mark.parametrize("factor", [1e-7, 1.0, 1e9])
def test_amounts_of_any_size_are_drawn_inside_the_chart(factor: float) -> None:
    predictions = make_predictions()
    for row in predictions["prequential"]["tables"]["spend_by_expectation"]:
        row[1], row[2] = row[1] * factor, row[2] * factor
    places = [float(y) for y in re.findall(r' y[12]="([-\d.]+)"', html_of(predictions))]

    assert places
    assert all(0.0 <= place <= 100.0 for place in places)


def test_nobody_who_spent_is_said() -> None:
    predictions = make_predictions()
    for row in predictions["prequential"]["tables"]["spend_by_expectation"]:
        row[2] = 0.0
    assert "No customer whose outcome is known has bought anything." in Page(html_of(predictions)).texts
