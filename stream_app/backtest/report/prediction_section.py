"""The section that answers whether the predictions were right, for a reader who doubts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_app.backtest.report.calibration_charts import calibration_plot, spend_against_expectation
from stream_app.backtest.report.figure import empty
from stream_app.backtest.report.formats import whole
from stream_app.backtest.report.markup import Markup, tag
from stream_app.backtest.report.method_charts import growth_lift, method_table, methods_over_time, spend_lift
from stream_app.backtest.report.prequential_charts import losses, rank_figures


def prediction_section(predictions: Mapping[str, Any] | None, currency: str) -> Markup | None:
    """Show the figures of a run's predictions; None when they were not judged.

    Parameters
    ----------
    predictions
        As in the summary.
    currency
        Of the spend.
    """
    if predictions is None:
        return None
    return tag(
        "section",
        tag("h2", "Were the predictions right?"),
        tag("p", _lead(predictions), class_="lead"),
        *_beside_yardsticks(predictions["methods"]),
        *_by_outcome(predictions, currency),
        id="predictions",
    )


def _lead(predictions: Mapping[str, Any]) -> str:
    outcomes = predictions["prequential"]["outcomes"]
    return (
        "Tiers are only as good as the predictions under them. Nothing here was fitted in hindsight: every prediction "
        "was made in the run, from what had happened until then, and held against what came in the "
        f"{predictions['horizon_days']} days after it. {whole(outcomes)} predictions have come due."
    )


def _beside_yardsticks(methods: Mapping[str, Any] | None) -> list[Markup | None]:
    if methods is None:
        why = (
            "No cutoff has enough buyers and 28 days after it, or the run went on from a saved state and does not know "
            "what was bought before."
        )
        return [empty("Beside what every analyst has", why)]
    days = methods["horizon_days"]
    over_time = [
        methods_over_time(
            methods,
            "normalized_gini",
            "Ranking spend, cutoff by cutoff",
            f"nGini of the spend of the {days} days after each cutoff; yardsticks are dashed.",
        ),
        methods_over_time(
            methods,
            "growth_auc",
            "Ranking growth, cutoff by cutoff",
            f"AUC of who spent more in the {days} days after the cutoff than in those before; 0.5 is drawing lots.",
        ),
    ]
    return [method_table(methods), _pair(spend_lift(methods), growth_lift(methods)), _pair(*over_time)]


def _by_outcome(predictions: Mapping[str, Any], currency: str) -> list[Markup | None]:
    if not predictions["prequential"]["outcomes"]:
        why = f"The first outcome comes {predictions['horizon_days']} days after a customer's first snapshot."
        return [empty("What was predicted against what came", why)]
    tables = predictions["prequential"]["tables"]
    return [
        spend_against_expectation(predictions, currency),
        _pair(
            calibration_plot(tables["buying_by_probability"], "buying", "bought"),
            calibration_plot(tables["growth_by_probability"], "growth", "spent more than before"),
        ),
        rank_figures(predictions),
        losses(predictions),
    ]


def _pair(*charts: Markup | None) -> Markup | None:
    drawn = [chart for chart in charts if chart is not None]
    return tag("div", *drawn, class_="pair") if len(drawn) > 1 else drawn[0] if drawn else None
