"""The report: self-contained, harmless whatever the log holds, and with the numbers of the statistics."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_app.backtest.report import DeadLetterSample, ExampleCustomer, ReportData, render_report, write_report
from stream_app.backtest.report.formats import money, whole
from stream_app.backtest.results import StatisticsResult
from stream_app.backtest.statistics import BacktestStatistics
from stream_app.backtest.summary import RunFacts, build_summary, five_numbers
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import AxisPolicy, CutRule, Margin, Policy
from stream_app.domain.rows import UNRATED
from tests.backtest.report_page import Page
from tests.backtest.synthetic_run import (
    MOOD,
    START_MS,
    VALUE,
    Happening,
    Move,
    make_batch,
    make_effects,
    make_knowledge,
    make_policy,
    random_run,
)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
TWO_AXES = make_policy(VALUE, MOOD)


def change(sequence: int, day: int, from_tier: str | None, to_tier: str, **more: Any) -> dict[str, Any]:
    """Make a record as in changes.jsonl."""
    return {
        "customer_id": "c1",
        "sequence": sequence,
        "axis": "value",
        "from_tier": from_tier,
        "to_tier": to_tier,
        "score": 1.5,
        "percentile": 40.0,
        "cut_point": None,
        "cause": "first_rated" if from_tier is None else "time",
        "reasons": [{"term": "spend", "contribution": -0.5, "text": f"spent about {sequence} EUR"}],
        "treatment": {"channel": "digital", "action": "Write to them."},
        "effective_at": f"2022-01-{9 + day:02d}T00:00:00.000Z",
        **more,
    }


def example(**changes: Any) -> ExampleCustomer:
    """Make an example customer."""
    told = [change(1, 0, None, "big"), change(2, 5, "big", "small")]
    given = ExampleCustomer("c1", "Fell from big to small", [(START_MS, 12.5), (START_MS + MS_PER_DAY, 30.0)], told)
    return replace(given, **changes)


def report_data(policy: Policy, result: StatisticsResult, **more: Any) -> ReportData:
    """Put a report together as the driver does."""
    facts = RunFacts(
        sources=("events.csv",),
        rows_read=result.applied_count + result.duplicate_count + 5,
        dead_letters={"invalid_time": 3, "wrong_type": 2},
        first_event_ms=START_MS,
        last_event_ms=START_MS + 120 * MS_PER_DAY,
        seconds_by_stage={"read": 1.0},
    )
    summary = build_summary(policy, result, facts)
    return ReportData(policy=policy, result=result, summary=summary, **more)


def random_result(policy: Policy, seed: int = 3, days: int = 120) -> StatisticsResult:
    """Make a result with everything in it."""
    run = random_run(policy, seed=seed, days=days)
    edges = np.linspace(0, 4, 201)
    counts = np.arange(200)
    return run.statistics.finish(
        score_histograms={axis.name: (edges, counts) for axis in policy.axes},
        knowledge=make_knowledge(policy),
        populations=run.population(),
        segment_matrix=run.segment_matrix(),
    )


def bare_result(policy: Policy, *, has_lines: bool = False) -> StatisticsResult:
    """Make a result with nothing in it."""
    statistics = BacktestStatistics(policy, output_from_ms=None)
    shape = (len(policy.axes), max(len(axis.tiers) for axis in policy.axes) + 2)
    return statistics.finish(
        score_histograms={},
        knowledge=make_knowledge(policy, has_lines=has_lines),
        populations=np.zeros(shape, dtype=np.int64),
        segment_matrix={},
    )


@pytest.fixture(scope="module")
def result() -> StatisticsResult:
    return random_result(TWO_AXES)


@pytest.fixture(scope="module")
def html(result: StatisticsResult) -> str:
    letters = [DeadLetterSample("events.csv, row 7", "invalid_time", "time = 'soon'", "c1,soon,3")]
    return render_report(report_data(TWO_AXES, result, examples=[example()], dead_letters=letters))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_refers_to_nothing_outside_of_itself(html: str, page: Page) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    references = [(tag, name, value) for tag, name, value in page.attributes if name in ("src", "href", "srcset")]
    assert references == [("link", "href", "data:,")]


def test_the_content_security_policy_allows_the_pages_own_script_only(html: str, page: Page) -> None:
    ((_, script),) = [found for found in page.scripts if "type" not in found[0]]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_hostile_content_is_shown_as_text_everywhere(result: StatisticsResult) -> None:
    hostile_change = change(1, 0, None, "big", cause=HOSTILE, reasons=[{"text": HOSTILE}])
    hostile_change["treatment"] = {"channel": HOSTILE, "action": HOSTILE}
    hostile_change["axis"] = HOSTILE
    data = report_data(
        replace(TWO_AXES, name=HOSTILE, owner=HOSTILE, objective=HOSTILE),
        result,
        examples=[
            example(customer_id=HOSTILE, headline=HOSTILE, changes=[hostile_change, change(2, 1, HOSTILE, HOSTILE)])
        ],
        dead_letters=[DeadLetterSample(HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
    )
    summary = {**data.summary, "notes": [HOSTILE], "sources": [HOSTILE], "settings": {HOSTILE: HOSTILE}}
    html = render_report(replace(data, summary=summary))
    assert "<script>alert" not in html
    assert "<img" not in html
    page = Page(html)
    assert [attributes for attributes, _ in page.scripts] == [{"type": "application/json", "id": "summary"}, {}]
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert page.texts.count(HOSTILE) >= 8
    embedded = json.loads(page.scripts[0][1])
    assert embedded["notes"] == [HOSTILE]


def test_ids_come_out_as_they_were_whatever_script_they_are_in(result: StatisticsResult) -> None:
    identifier = "Żółć-☕-\u202etxt"
    page = Page(render_report(report_data(TWO_AXES, result, examples=[example(customer_id=identifier)])))
    assert identifier in page.texts


def test_control_characters_and_broken_unicode_of_refused_rows_do_no_harm(
    result: StatisticsResult, tmp_path: Path
) -> None:
    letter = DeadLetterSample("a.csv, row 1", "invalid_utf8", "", "a\x00b\x1bc\ud800d")
    write_report(tmp_path / "report.html", report_data(TWO_AXES, result, dead_letters=[letter]))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "a\ufffdb\ufffdc?d" in page.texts


def test_the_embedded_summary_is_the_summary(page: Page, result: StatisticsResult) -> None:
    ((_, content),) = [found for found in page.scripts if found[0].get("id") == "summary"]
    assert json.loads(content) == json.loads(json.dumps(report_data(TWO_AXES, result).summary))


def test_the_five_numbers_head_the_page(page: Page, result: StatisticsResult) -> None:
    whole_text = re.sub(r"\W+", "", "".join(page.texts))
    for label, value in five_numbers(report_data(TWO_AXES, result).summary):
        assert re.sub(r"\W+", "", label + value) in whole_text


def test_matrices_hold_the_counts_of_the_statistics(page: Page, result: StatisticsResult) -> None:
    matrices = [table for table in page.tables if table[0][0] == "from \u2192 to"]
    assert len(matrices) == 4
    for place, axis in enumerate(result.axes):
        changes, first_to_last = matrices[2 * place : 2 * place + 2]
        for source in range(len(axis.tiers)):
            assert changes[source + 1][0] == first_to_last[source + 1][0] == axis.tiers[source]
            for target in range(len(axis.tiers)):
                if source != target:
                    cell = changes[source + 1][target + 1].split("|")[0]
                    assert cell == whole(axis.migrations[source, target])
                assert first_to_last[source + 1][target + 1].split("|")[0] == whole(axis.first_to_last[source, target])
        assert changes[-1][1:-1] == [whole(count) for count in axis.first_ratings]


def test_the_table_of_populations_holds_every_day(page: Page, result: StatisticsResult) -> None:
    table = page.table_with("Day", "prospect", "unrated", "small")
    axis = result.axes[0]
    assert len(table) - 1 == len(axis.populations)
    assert [row[1:] for row in table[1:]] == [[whole(n) for n in counts] for counts in axis.populations]


def test_the_table_of_revenue_adds_up_to_the_statistics(page: Page, result: StatisticsResult) -> None:
    table = page.table_with("28 days from", "prospect", "unrated", "small")
    axis = result.axes[0]
    assert [row[-1] for row in table[1:]] == [money(float(total), "EUR") for total in axis.revenue.sum(axis=1)]
    assert table[1][1].startswith(money(float(axis.revenue[0, 0]), "EUR"))


def test_the_table_of_changes_adds_up_to_the_statistics(page: Page, result: StatisticsResult) -> None:
    table = page.table_with("Day", "up by an event", "up by time alone")
    axis = result.axes[0]
    totals = [sum(int(row[column].replace(",", "")) for row in table[1:]) for column in range(1, len(table[0]))]
    assert sum(totals[:2]) == axis.promotion_count
    assert sum(totals[2:4]) == axis.demotion_count
    assert totals[4] == axis.first_ratings.sum()


def test_the_table_of_scores_adds_up_to_the_histogram(page: Page, result: StatisticsResult) -> None:
    table = page.table_with("Score", "Customers")
    total = sum(int(row[1].replace(",", "")) for row in table[1:])
    assert total == result.axes[0].histogram_counts.sum()


def test_cut_points_are_named_with_their_tiers(page: Page) -> None:
    assert {"big from 1.00", "vip from 2.00", "high from 1.00"} <= set(page.texts)


def test_examples_tell_purchases_changes_reasons_and_treatment(page: Page) -> None:
    assert "Fell from big to small" in page.headings
    assert {"spent about 1 EUR", "spent about 2 EUR", "Write to them.", "14 Jan 2022"} <= set(page.texts)
    table = page.table_with("Day", "amount", "purchases")
    assert table[1:] == [["8 Jan 2022", "EUR\u00a012.50", "1"], ["9 Jan 2022", "EUR\u00a030", "1"]]


def test_refused_rows_are_told_by_reason_with_examples(page: Page) -> None:
    table = page.table_with("Reason", "rows")
    assert [row[:2] for row in table[1:]] == [["invalid_time", "3"], ["wrong_type", "2"]]
    assert "c1,soon,3" in page.texts
    assert "events.csv, row 7: invalid_time, time = 'soon'" in page.texts


def test_every_chart_has_a_title_a_description_and_a_table(html: str, page: Page) -> None:
    charts = re.findall(r'<figure class="chart">.*?</figure>|<figure>.*?</figure>', html, flags=re.DOTALL)
    charts += re.findall(r'<article class="chart customer">.*?</article>', html, flags=re.DOTALL)
    plots = [chart for chart in charts if 'role="img"' in chart and "gauge" not in chart]
    assert len(plots) >= 11
    for chart in plots:
        assert "<h3>" in chart
        assert "aria-label=" in chart
        assert "<table>" in chart
    assert all(value for _, name, value in page.attributes if name == "aria-label")


def test_a_customer_with_thousands_of_purchases_and_changes_is_told_in_bounded_space(
    result: StatisticsResult,
) -> None:
    purchases = [(START_MS + n * 600_000, 1.0) for n in range(20_000)]
    tiers = ["small", "big"]
    changes = [change(n + 1, n % 20, tiers[n % 2], tiers[1 - n % 2]) for n in range(3000)]
    one = example(purchases=purchases, changes=changes)
    html = render_report(report_data(TWO_AXES, result, examples=[one]))
    table = Page(html).table_with("Day", "amount", "purchases")
    assert len(table) <= 260
    assert sum(int(row[2].replace(",", "")) for row in table[1:]) == len(purchases)
    assert len(html) - len(render_report(report_data(TWO_AXES, result))) < 150_000


def test_twelve_years_stay_below_a_megabyte() -> None:
    policy = make_policy()
    statistics = BacktestStatistics(policy, output_from_ms=None)
    populations, knowledge = np.array([[5, 0, 800, 150, 50]]), make_knowledge(policy)
    for day in range(0, 12 * 365):
        time_ms = START_MS + day * MS_PER_DAY
        if day % 20 == 0:
            moves = [Move(f"c{day % 50}", time_ms, day % 2, 1 - day % 2)]
            events = [Happening("a", time_ms, 5.0, tiers_before=(day % 3,))]
            statistics.record_batch(make_batch(events), make_effects(moves, events))
        statistics.record_day(time_ms, populations, knowledge)
    result = statistics.finish(
        score_histograms={"value": (np.linspace(0, 9, 30_001), np.ones(30_000, dtype=np.int64))},
        knowledge=knowledge,
        populations=populations,
        segment_matrix={("small",): 800},
    )
    html = render_report(report_data(policy, result, examples=[example()] * 6))
    assert len(html) < 1_000_000
    totals = [row[-1] for row in Page(html).table_with("56 days from", "small")[1:]]
    assert sum(float(total.split("\u00a0")[1].replace(",", "")) for total in totals) == 12 * 365 / 20 * 5


@pytest.mark.parametrize("has_lines", [False, True])
def test_a_log_of_nothing_gives_a_page_that_says_so(*, has_lines: bool) -> None:
    result = bare_result(TWO_AXES, has_lines=has_lines)
    facts = RunFacts(sources=(), rows_read=0)
    data = ReportData(TWO_AXES, result, build_summary(TWO_AXES, result, facts))
    page = Page(render_report(data))
    assert "No event was applied: there is nothing to segment." in page.texts
    assert "Nothing was refused." in page.texts
    assert not any(tag == "path" for tag, _, _ in page.attributes)


def test_one_customer_over_two_weeks_without_cut_points_gives_a_page() -> None:
    policy = make_policy()
    statistics = BacktestStatistics(policy, output_from_ms=None)
    events = [
        Happening("only", START_MS, 5.0),
        Happening("only", START_MS + 5 * MS_PER_DAY, 5.0, tiers_before=(UNRATED,)),
    ]
    statistics.record_batch(make_batch(events), make_effects((), events))
    populations = np.array([[0, 1, 0, 0, 0]])
    knowledge = make_knowledge(policy, has_lines=False)
    for day in range(14):
        statistics.record_day(START_MS + day * MS_PER_DAY, populations, knowledge)
    result = statistics.finish(
        score_histograms={"value": (np.array([1.0, 1.01]), np.array([1]))},
        knowledge=knowledge,
        populations=populations,
        segment_matrix={("unrated",): 1},
    )
    candidates = statistics.example_candidates()
    told = [ExampleCustomer(customer, headline, [(START_MS, 5.0)], []) for customer, headline in candidates]
    page = Page(render_report(report_data(policy, result, examples=told)))
    assert any("1 buyer at the end, 100 needed" in text for text in page.texts)
    assert "No change of tier." in page.texts
    assert page.table_with("Day", "unrated")[1][1] == "1"
    assert page.table_with("28 days from", "prospect", "unrated")[1][-1] == "EUR\u00a010"


def test_any_number_of_axes_and_tiers_is_drawn() -> None:
    many = AxisPolicy(
        "depth",
        "value",
        tuple(f"level_{n}" for n in range(7)),
        CutRule.ABSOLUTE,
        tuple(range(1, 7)),
        Margin(0.1, 0.1),
        0,
    )
    policy = make_policy(MOOD, many, VALUE)
    page = Page(render_report(report_data(policy, random_result(policy, days=40), examples=[example()])))
    assert [heading for heading in page.headings if heading in ("Mood", "Depth", "Value")] == ["Mood", "Depth", "Value"]
    matrix = next(table for table in page.tables if table[0][1:3] == ["level_0", "level_1"])
    assert len(matrix) == 7 + 2
    assert {f"tiers-{count}" for count in (2, 3, 7)} <= {
        name for _, attribute, value in page.attributes if attribute == "class" for name in value.split()
    }


def test_prospects_who_outnumber_everybody_do_not_flatten_the_tiers() -> None:
    policy = make_policy()
    statistics = BacktestStatistics(policy, output_from_ms=None)
    for day in range(10):
        statistics.record_day(START_MS + day * MS_PER_DAY, np.array([[9000, 0, 80, 15, 5]]), make_knowledge(policy))
    result = statistics.finish(
        score_histograms={},
        knowledge=make_knowledge(policy),
        populations=np.array([[9000, 0, 80, 15, 5]]),
        segment_matrix={("prospect",): 9000},
    )
    html = render_report(report_data(policy, result))
    assert "Prospects, by far the most, are in the table only." in html
    assert Page(html).table_with("Day", "prospect")[1][1] == "9,000"


def test_a_report_that_cannot_be_made_leaves_the_old_one_alone(result: StatisticsResult, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, report_data(TWO_AXES, result))
    before = path.read_bytes()
    data = report_data(TWO_AXES, result)
    with pytest.raises(ValueError, match="JSON"):
        write_report(path, replace(data, summary={**data.summary, "broken": float("nan")}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_same_run_gives_the_same_page(result: StatisticsResult) -> None:
    data = report_data(TWO_AXES, result, examples=[example()])
    assert render_report(data) == render_report(data)
