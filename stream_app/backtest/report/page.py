"""The page around the charts, and how it gets to disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_app.backtest.report.changes_chart import changes_chart
from stream_app.backtest.report.customer_chart import customer_card
from stream_app.backtest.report.data import ReportData
from stream_app.backtest.report.document import render_document, write_document
from stream_app.backtest.report.formats import parse_time_ms
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.report.migration_matrix import migration_section, steadiness
from stream_app.backtest.report.population_chart import cut_point_chart, population_chart
from stream_app.backtest.report.prediction_section import prediction_section
from stream_app.backtest.report.revenue_chart import revenue_argument, revenue_over_time
from stream_app.backtest.report.score_chart import score_chart
from stream_app.backtest.report.sections import accounting, header, how_to_read, provenance
from stream_app.backtest.results import AxisResult
from stream_app.domain.events import MS_PER_DAY


def render_report(data: ReportData) -> str:
    """Render the report as one HTML page without external references.

    Parameters
    ----------
    data
        Figures and examples; nothing in it is trusted to be harmless.

    Returns
    -------
    str
        A whole document.
    """
    return render_document(
        f"Backtest of policy {data.policy.name}",
        [len(axis.tiers) for axis in data.result.axes],
        data.summary,
        header(data),
        tag(
            "main",
            *(_axis_section(axis, data) for axis in data.result.axes),
            prediction_section(data.summary["predictions"], data.policy.reporting_currency),
            _examples(data),
            accounting(data),
        ),
        tag("footer", how_to_read(data.policy), provenance(data.summary)),
    )


def write_report(path: Path, data: ReportData) -> None:
    """Write the report so that a reader sees the old page or the new one, never half of one.

    Parameters
    ----------
    path
        Where to; a file there is replaced.
    data
        What to show.
    """
    write_document(path, render_report(data))


def _axis_section(axis: AxisResult, data: ReportData) -> Markup:
    currency = data.policy.reporting_currency
    name = axis.name[:1].upper() + axis.name[1:]
    return tag(
        "section",
        tag("h2", name),
        revenue_argument(axis, currency),
        population_chart(axis, data.result),
        migration_section(axis),
        steadiness(axis),
        changes_chart(axis, data.result),
        revenue_over_time(axis, data.result, currency),
        score_chart(axis),
        cut_point_chart(axis, data.result, _switch_times(data.summary["predictions"])),
        class_=f"axis tiers-{len(axis.tiers)}",
        id=f"axis-{axis.name}",
    )


def _switch_times(predictions: Mapping[str, Any] | None) -> list[int]:
    switches = [] if predictions is None else predictions["scoring_switches"]
    times_ms = [parse_time_ms(switch["at"]) for switch in switches]
    return [time_ms for time_ms in times_ms if time_ms is not None]


def _examples(data: ReportData) -> Markup | None:
    if not data.examples:
        return None
    span = data.summary["time_span"]
    times_ms = [time_ms for example in data.examples for time_ms, _ in example.purchases]
    start_ms = parse_time_ms(span["first_event"])
    end_ms = parse_time_ms(span["last_event"])
    start_ms = min([*times_ms, 0 if start_ms is None and not times_ms else start_ms or times_ms[0]])
    end_ms = max([*times_ms, start_ms + MS_PER_DAY, end_ms or 0])
    cards = [customer_card(example, data.policy, (start_ms, end_ms)) for example in data.examples]
    return tag(
        "section",
        tag("h2", "Customers, one by one"),
        tag(
            "p",
            "Stems are purchases; the band beneath shows the held tier. All are drawn on the same scale of time.",
            class_="lead",
        ),
        tag("div", join(*cards), class_="cards"),
        id="customers",
    )
