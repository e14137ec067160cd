"""The page of a comparison: self-contained, harmless whatever log and policies hold, and with the right figures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream_app.backtest.comparison.glance import points
from stream_app.backtest.comparison.page import render_comparison
from stream_app.backtest.comparison.policies import load_policies
from stream_app.backtest.comparison.run import ComparisonRun, run_comparison
from stream_app.backtest.report.formats import percent, whole
from stream_app.backtest.settings import BacktestSettings
from stream_app.domain.events import MS_PER_DAY
from tests.backtest.compared_policies import CAREFUL, EAGER, OTHER_TIERS, write_policies
from tests.backtest.conftest import RUN_STARTED_MS
from tests.backtest.report_page import Page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'&"


def compare(log: Path, folder: Path, **texts: str) -> ComparisonRun:
    policies = load_policies(write_policies(folder / "policies", **texts), None)
    settings = BacktestSettings(
        patterns=(str(log),),
        policy=policies[0].policy,
        out=folder / "out",
        run_started_ms=RUN_STARTED_MS,
        tick_ms=MS_PER_DAY,
    )
    return run_comparison(settings, policies)


@pytest.fixture(scope="module")
def comparison(shop_log: Path, tmp_path_factory: pytest.TempPathFactory) -> ComparisonRun:
    return compare(shop_log, tmp_path_factory.mktemp("pages"), careful=CAREFUL, eager=EAGER, other=OTHER_TIERS)


@pytest.fixture(scope="module")
def html(comparison: ComparisonRun) -> str:
    return comparison.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def write_log(path: Path, customers: int, days: int, *, purchases: bool = True) -> Path:
    rows = []
    for day in range(days):
        for customer in range(day % 3, customers, 3):
            kind, amount = (
                ("purchase", 5 + customer * (1 + (customer + day // 30) % 7)) if purchases else ("browse", "")
            )
            rows.append(f'"{HOSTILE}{customer}",2024-{day // 28 + 1:02}-{day % 28 + 1:02},{amount},{kind}')
    path.write_text("customer_id,occurred_at,amount,type\n" + "\n".join(rows) + "\n")
    return path


def test_the_page_refers_to_the_single_reports_and_to_nothing_else(
    html: str, page: Page, comparison: ComparisonRun
) -> None:
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(", re.sub(r'<script type="application/json".*?</script>', "", html)
    )
    references = [(tag, value) for tag, name, value in page.attributes if name in ("src", "href", "srcset")]
    links = [f"./{name}/report.html" for name in ("careful", "eager", "other")]
    assert references == [("link", "data:,"), *(("a", link) for link in links)]
    assert all((comparison.report.parent / link).is_file() for link in links)


def test_the_content_security_policy_allows_the_pages_own_script_only(page: Page) -> None:
    ((_, script),) = [found for found in page.scripts if "type" not in found[0]]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_the_embedded_comparison_is_that_of_the_file(page: Page, comparison: ComparisonRun) -> None:
    ((_, content),) = [found for found in page.scripts if found[0].get("id") == "summary"]
    assert json.loads(content) == json.loads((comparison.report.parent / "comparison.json").read_bytes())


def test_owners_objectives_and_differing_settings_are_shown_side_by_side(page: Page) -> None:
    about = {row[0]: row[1:] for row in page.table_with("Policy", "careful", "eager", "other")[1:]}
    assert about["Owner"] == ["CRM", "Sales", "CRM"]
    assert about["Objective"][:2] == ["Call few, call the right ones.", "Call many."]
    assert about["Calls itself"] == ["careful", "eager", "four tiers"]
    settings = {row[0]: row[1:] for row in page.table_with("Setting", "careful", "eager", "other")[1:]}
    assert settings["axes.value.cuts"] == ["[0.8, 0.95]", "[0.7, 0.9]", "[0.5, 0.8, 0.95]"]
    assert settings["axes.growth.cuts"] == ["[0.2, 0.8]", "[0.2, 0.8]", "\u2013"]


def test_the_matrices_hold_the_counts_of_the_comparison(page: Page, comparison: ComparisonRun) -> None:
    for pair in comparison.document["pairs"]:
        corner = f"{pair['first']} \u2192 {pair['second']}"
        tables = [table for table in page.tables if table[0][0] == corner]
        assert len(tables) == len(pair["axes"])
        for table, axis in zip(tables, pair["axes"], strict=True):
            states = table[0][1:-1]
            for row in table[1:]:
                told = {state: cell.split("|")[0] for state, cell in zip(states, row[1:-1], strict=True)}
                expected = axis["matrix"][row[0]]
                assert told == {state: whole(expected[state]) for state in states}
                assert row[-1] == whole(sum(expected.values()))
            shown = {row[0] for row in table[1:]}
            assert all(not any(row.values()) for state, row in axis["matrix"].items() if state not in shown)


def test_the_headings_say_how_many_customers_differ(page: Page, comparison: ComparisonRun) -> None:
    for pair in comparison.document["pairs"]:
        for axis in pair["axes"]:
            finding = f"{percent(axis['differing_share'])} of rated customers have another tier under {pair['second']}"
            assert finding in page.headings


def test_the_table_of_movement_shows_each_policy_and_its_difference_from_the_first(
    page: Page, comparison: ComparisonRun
) -> None:
    tables = [table for table in page.tables if table[0][0] == "Figure"]
    for table, axis in zip(tables, comparison.document["axes"], strict=True):
        figures = list(axis["policies"].values())
        shown = {row[0]: row[1:] for row in table[1:]}
        for place, own in enumerate(figures):
            if own is None:
                assert {row[place] for row in shown.values()} == {"\u2013"}
                continue
            first, ratio = figures[0], own["flaps"]["ratio"]
            assert shown["Promotions"][place].split("|")[0].strip() == whole(own["changes"]["promotions"])
            assert shown["Share of changes undone"][place].split("|")[0].strip() == percent(ratio)
            if place:
                change = points(ratio - first["flaps"]["ratio"])
                assert shown["Share of changes undone"][place].split("|")[-1] == change


def test_the_worth_of_each_tier_is_that_of_the_comparison(page: Page, comparison: ComparisonRun) -> None:
    tables = [table for table in page.tables if table[0][0] == "Policy and tier"]
    for table, axis in zip(tables, comparison.document["axes"], strict=True):
        shown = {row[0]: row[1:] for row in table[1:]}
        tiers = {
            f"{name}: {tier}": (own, tier) for name, own in axis["policies"].items() if own for tier in own["tiers"]
        }
        assert shown.keys() == tiers.keys()
        for label, (own, tier) in tiers.items():
            growth = own["growth_lift"][tier]
            assert shown[label] == [
                whole(own["populations"][tier]),
                percent(own["customer_share"][tier]),
                percent(own["revenue_share"][tier]),
                f"{own['revenue_lift'][tier]:.2f}",
                "\u2013" if growth is None else f"{growth:.2f}",
            ]


def test_predictions_of_each_policy_are_shown_with_their_horizon(page: Page, comparison: ComparisonRun) -> None:
    table = {row[0]: row[1:] for row in page.table_with("Predictions", "careful", "eager", "other")[1:]}
    told = [comparison.document["predictions"][name] for name in ("careful", "eager", "other")]

    shown = [cell.split("|")[0].strip() for cell in table["Ranking of spend (nGini)"]]
    assert shown == [f"{own['normalized_gini']:.3f}" for own in told]
    assert table["Looking ahead"] == [f"{own['horizon_days']} days" for own in told]


def test_treatments_are_shown_with_their_customers(page: Page, comparison: ComparisonRun) -> None:
    tables = [table for table in page.tables if table[0][:2] == ["Segment", "channel"]]
    for table, told in zip(tables, comparison.document["treatments"].values(), strict=True):
        assert [row[:4] for row in table[1:]] == [
            [" \u00b7 ".join(rule["segment"]), rule["channel"], rule["action"], whole(rule["customers_end"])]
            for rule in told["rules"]
        ]
    workload = page.table_with("Workload", "careful", "eager", "other")
    ends = [whole(told["human_customers"]["end"]) for told in comparison.document["treatments"].values()]
    assert workload[1] == ["Customers with human attention at the end", *ends]


def test_customers_who_differ_are_told_of_with_reasons_and_treatments(page: Page, comparison: ComparisonRun) -> None:
    examples = [example for pair in comparison.document["pairs"] for example in pair["examples"]]
    assert len(examples) >= 3
    for example in examples:
        assert example["customer_id"] in page.texts
        for view in example["policies"].values():
            assert view["treatment"]["action"] in " ".join(page.texts)
            assert {reason["text"] for reason in view["last_change"]["reasons"]} <= set(page.texts)
    assert any(re.match(r"Score \d+\.\d{3} at the end: ", text) for text in page.texts)


def test_every_chart_has_a_title_a_label_and_its_figures_as_a_table(html: str, page: Page) -> None:
    charts = re.findall(r'<figure class="chart[^"]*">.*?</figure>', html, flags=re.DOTALL)
    charts += re.findall(r'<article class="chart customer">.*?</article>', html, flags=re.DOTALL)
    plots = [chart for chart in charts if 'role="img"' in chart]
    assert len(plots) >= 10
    for chart in plots:
        assert "<h3>" in chart
        assert "<table>" in chart
    assert all(value for _, name, value in page.attributes if name == "aria-label")


def test_what_cannot_be_compared_is_said_at_the_top(page: Page, comparison: ComparisonRun) -> None:
    assert comparison.document["notes"]
    assert set(comparison.document["notes"]) <= set(page.texts)
    assert page.headings[:2] == [
        "Policies \u201ccareful\u201d, \u201ceager\u201d and \u201cother\u201d, side by side",
        "Bear in mind",
    ]


def test_hostile_policies_and_customers_are_shown_as_text(tmp_path: Path) -> None:
    toml = json.dumps(HOSTILE)
    hostile = f"""
[policy]
name = {toml}
owner = {toml}
objective = {toml}

[[treatments]]
segment = ["*", "*"]
channel = "human"
action = {toml}
"""
    eager = EAGER.replace("cuts = [0.70, 0.90]", "cuts = [0.4, 0.6]")
    comparison = compare(write_log(tmp_path / "log.csv", 150, 56), tmp_path, hostile=hostile, eager=eager)
    html = comparison.report.read_text(encoding="utf-8")

    assert comparison.document["pairs"][0]["examples"]
    assert "<script>alert" not in html
    assert "<img" not in html
    page = Page(html)
    assert [attributes for attributes, _ in page.scripts] == [{"type": "application/json", "id": "summary"}, {}]
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert sum(HOSTILE in text for text in page.texts) >= 5


def test_hostile_notes_and_files_are_shown_as_text(comparison: ComparisonRun) -> None:
    result = comparison.result
    runs = [replace_file(run, Path(HOSTILE)) for run in result.runs]
    page = Page(render_comparison(replace(result, runs=tuple(runs), notes=(HOSTILE,)), comparison.document))

    assert page.texts.count(HOSTILE) >= 4
    assert len(page.scripts) == 2


def replace_file(run: Any, path: Path) -> Any:
    return replace(run, compared=replace(run.compared, path=path))


@pytest.mark.parametrize(
    ("customers", "days", "purchases", "words"),
    [
        (150, 40, False, "The log has no purchase"),
        (1, 40, True, "1 buyer at the end, 100 needed"),
        (3, 1, True, "The log spans 0 days only"),
        (150, 12, True, "Nothing can be said of what hysteresis costs"),
    ],
)
def test_a_log_of_next_to_nothing_gives_a_page_that_says_so(
    tmp_path: Path, customers: int, days: int, *, purchases: bool, words: str
) -> None:
    log = write_log(tmp_path / "log.csv", customers, days, purchases=purchases)
    comparison = compare(log, tmp_path, careful=CAREFUL, eager=EAGER)

    page = Page(comparison.report.read_text(encoding="utf-8"))
    assert any(words in text for text in page.texts)
    assert "NaN" not in comparison.report.read_text(encoding="utf-8")
    assert b"NaN" not in (tmp_path / "out" / "comparison.json").read_bytes()


def test_the_same_comparison_gives_the_same_page(comparison: ComparisonRun, html: str) -> None:
    assert render_comparison(comparison.result, comparison.document) == html
