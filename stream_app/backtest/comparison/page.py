"""The page of a comparison, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stream_app.backtest.comparison.charts import (
    changes_lines,
    human_lines,
    hysteresis_figure,
    top_tier_lines,
    worth_figure,
)
from stream_app.backtest.comparison.customers import crossing_figure, example_cards
from stream_app.backtest.comparison.glance import (
    NOTHING,
    glance_table,
    header,
    policies_section,
    policy_colour,
    policy_heads,
    predictions_figure,
)
from stream_app.backtest.comparison.policies import SEPARATOR
from stream_app.backtest.comparison.results import ComparedRun, ComparisonResult, TreatmentLoad
from stream_app.backtest.comparison.watch import MARK_DAYS
from stream_app.backtest.report.document import render_document
from stream_app.backtest.report.figure import Column, DataTable, data_table, swatch
from stream_app.backtest.report.formats import date, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.summary import plain

_STYLES: Final = """
.tiles.some{grid-template-columns:repeat(auto-fit,minmax(170px,1fr))}
.settings td,.settings th{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}
.settings td{min-width:150px;width:40%}
.rules td,.rules th{white-space:normal;vertical-align:top}
.rules td:nth-child(2),.rules td:nth-child(3),.rules th:nth-child(2),.rules th:nth-child(3){text-align:left}
.rules th:first-child{white-space:nowrap;color:var(--soft)}
#policies{margin-top:44px}
.settings th:first-child{white-space:nowrap;color:var(--soft)}
.glance tbody th{white-space:normal}
.glance small{color:var(--soft);font-size:12px;margin-left:6px}
a{color:var(--accent)}
.share-bar{display:grid;grid-template-columns:76px 1fr;align-items:center;gap:10px;margin:5px 0}
.share-bar{font-size:13px;color:var(--soft)}
.bar{display:flex;gap:2px;height:26px}
.bar span{flex-basis:0;min-width:2px;border-radius:4px;overflow:hidden}
.bar span{display:flex;align-items:center;justify-content:center;container-type:inline-size}
@container (max-width:56px){.bar b{display:none}}
.bar b{font-size:12.5px;font-weight:600;color:#14171c;background:rgba(255,255,255,.78)}
.bar b{border-radius:9px;padding:1px 7px;white-space:nowrap}
.worth .bar-name{color:var(--ink);font-weight:600}
.worth .scroll{margin-top:22px}
.crossing td.same{box-shadow:inset 0 0 0 2px var(--rule-strong)}
.band{margin-top:10px;font-size:12.5px;color:var(--soft)}
.band .plot{margin:4px 0 0}
.customer .x-scale{margin-left:0}
.standing{color:var(--soft);margin-top:3px}
"""
_READING: Final = (
    (
        "One log, one run for each policy",
        "Each policy saw the same events in the same order and learned from them alone. The first policy is the one "
        "that the others are held against.",
    ),
    (
        "Differs",
        "A customer differs when the tiers at the end of the log are not the same. Tiers of one name are the same "
        "tier; higher and lower are said only where both policies have the same tiers.",
    ),
    (
        "Changes and flaps",
        "A change is a promotion or demotion that was published. A flap is one after which the customer is back in the "
        "old tier, or beyond it, within 28 days.",
    ),
    (
        "Revenue and lift",
        "Gross purchases, each counted for the tier held just before it, so no tier earns by hindsight. A lift of 3 is "
        "three times as much as the average rated customer.",
    ),
    (
        "Price of hysteresis",
        "Margin and confirmation keep customers in a tier that their score has left. That saves changes and costs some "
        "of the revenue that the upper tiers would have held.",
    ),
    (
        "Human attention",
        "Customers whose segment has a treatment by the channel \u201chuman\u201d. A handover is a moment in which a "
        "change of segment brings a customer such a treatment; first ratings count.",
    ),
)


def render_comparison(result: ComparisonResult, document: Mapping[str, Any]) -> str:
    """Render the comparison as one HTML page without external references but the links to the single reports.

    Parameters
    ----------
    result
        What the comparison found; nothing in it is trusted to be harmless.
    document
        Content of `comparison.json`, embedded in the page.

    Returns
    -------
    str
        A whole document.
    """
    names = ", ".join(run.name for run in result.runs)
    tier_counts = {len(axis.tiers) for run in result.runs for axis in run.policy.axes}
    return render_document(
        f"Comparison of {names}",
        tier_counts,
        document,
        tag("style", Markup(_STYLES)),
        header(result),
        tag(
            "main",
            policies_section(result),
            *(_axis_section(result, axis) for axis in result.axis_names),
            tag("section", tag("h2", "Predictions"), predictions_figure(result, document)),
            _treatments(result),
            *(example_cards(pair, (0, place)) for place, pair in enumerate(result.pairs, start=1)),
        ),
        tag("footer", _how_to_read(), _provenance(document)),
    )


def _axis_section(result: ComparisonResult, axis: str) -> Markup:
    crossings = [
        crossing_figure(crossing, pair) for pair in result.pairs for crossing in pair.crossings if crossing.axis == axis
    ]
    return tag(
        "section",
        tag("h2", axis[:1].upper() + axis[1:]),
        *crossings,
        worth_figure(result, axis),
        glance_table(result, axis),
        changes_lines(result, axis),
        top_tier_lines(result, axis),
        hysteresis_figure(result, axis),
        class_=f"axis {_tiers_class(result, axis)}",
        id=f"axis-{axis}",
    )


def _tiers_class(result: ComparisonResult, axis: str) -> str:
    counts = [len(own.tiers) for run in result.runs if (own := run.axis_policy(axis)) is not None]
    return f"tiers-{counts[0]}"


def _treatments(result: ComparisonResult) -> Markup:
    """Show how many customers each treatment has, and what that asks of people."""
    return tag(
        "section",
        tag("h2", "Treatments, and the people they need"),
        _workload(result),
        human_lines(result),
        *(_rules(run, policy_colour(place)) for place, run in enumerate(result.runs)),
        id="treatments",
    )


def _workload(result: ComparisonResult) -> Markup:
    runs = result.runs
    rows: list[tuple[float | None, list[str]]] = [
        (None, ["Customers with human attention at the end", *(whole(run.human_end) for run in runs)]),
        (
            None,
            [
                f"The same, mean over every {MARK_DAYS} days",
                *(NOTHING if run.human_mean is None else whole(run.human_mean) for run in runs),
            ],
        ),
        (None, ["Handed over to people, a day", *(_a_day(run.handover_count, run) for run in runs)]),
        (None, ["Handed back, a day", *(_a_day(run.hand_back_count, run) for run in runs)]),
        (None, ["Most handed over on one day", *(_busiest(run) for run in runs)]),
    ]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", "How much human attention each policy asks for"),
            tag("p", "Attention is scarce: hold these figures against what the people who give it can do."),
        ),
        data_table(DataTable([Column("Workload"), *policy_heads(result)], rows)),
        class_="chart glance",
    )


def _a_day(count: int, run: ComparedRun) -> str:
    return plain(count / run.days) if run.days else NOTHING


def _busiest(run: ComparedRun) -> str:
    busiest = run.busiest_day
    return NOTHING if busiest is None else f"{whole(busiest[1])} on {date(busiest[0])}"


def _rules(run: ComparedRun, colour: str) -> Markup:
    rows: list[tuple[float | None, list[str]]] = [(None, _rule(load)) for load in run.treatments]
    columns = ["Segment", "channel", "action", "customers at the end", f"mean of every {MARK_DAYS} days"]
    return tag(
        "figure",
        tag("figcaption", tag("h3", join(swatch(colour), f"Treatments of {run.name}"))),
        tag("div", data_table(DataTable([Column(name) for name in columns], rows)), class_="rules"),
        class_="chart",
    )


def _rule(load: TreatmentLoad) -> list[str]:
    return [
        SEPARATOR.join(load.pattern),
        load.treatment.channel,
        load.treatment.action,
        whole(load.customers_end),
        NOTHING if load.customers_mean is None else whole(load.customers_mean),
    ]


def _how_to_read() -> Markup:
    words = [tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in _READING]
    return tag("section", tag("h2", "How to read it"), tag("dl", *words, class_="words"), class_="card", id="reading")


def _provenance(document: Mapping[str, Any]) -> Markup:
    log = document["log"]
    rows: list[tuple[float | None, list[str]]] = [
        (None, ["Software", f"stream-app {document['stream_app']}"]),
        (None, ["Files", ", ".join(log["sources"]) or "none"]),
        *((None, [name.capitalize(), str(value)]) for name, value in log["settings"].items()),
        (None, ["As data", "comparison.json, beside this page, and embedded in it"]),
    ]
    table = DataTable([Column("What"), Column("value")], rows)
    return tag(
        "section",
        tag("h2", "Provenance"),
        tag("div", data_table(table), class_="provenance"),
        class_="card",
        id="provenance",
    )
