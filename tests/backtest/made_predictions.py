"""Figures of predictions as a run gives them, made by hand and from random outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stream_app.backtest.evaluation.evaluation import drift_document, prequential_document
from stream_app.backtest.judging.figures import FIGURE_NAMES
from stream_app.backtest.summary import iso_time
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.prequential import PrequentialEvaluation
from tests.learning.test_prequential import outcomes

FIRST_DAY = 28 * 700
"""The first window's first day, days since 1970-01-01."""
MEANS = {
    "scores": {"normalized_gini": 0.7, "cap20": 0.68, "hit20": 0.5, "buy_auc": 0.78, "growth_auc": 0.69},
    "rfm_sum": {"normalized_gini": 0.65, "cap20": 0.66, "hit20": 0.52, "buy_auc": 0.77, "growth_auc": 0.66},
    "least_last_horizon_spend": {"growth_auc": 0.44},
}
LABELS = {"scores": "these scores", "rfm_sum": "RFM sum", "least_last_horizon_spend": "least last-H spend"}


def make_evaluation(windows: int = 6, *, is_getting_worse: bool = False) -> PrequentialEvaluation:
    """Score random outcomes, 2,000 a window; the probabilities of the last two windows can be turned around."""
    evaluation = PrequentialEvaluation()
    for window in range(windows):
        for part in range(4):
            scored = outcomes(500, 10 * window + part)
            if is_getting_worse and window >= windows - 2:
                scored = replace(scored, buy_probability=1.0 - scored.buy_probability)
            evaluation.add(scored, float(FIRST_DAY + 28 * window + 7 * part))
    return evaluation


def make_methods(cutoffs: int = 3) -> dict[str, Any]:
    """Give the figures of three methods at some cutoffs."""

    def filled(figures: dict[str, float], more: float) -> dict[str, float | None]:
        return {name: None if name not in figures else figures[name] + more for name in FIGURE_NAMES}

    return {
        "horizon_days": 84,
        "customers": 1_234,
        "sample_share": 0.25,
        "labels": LABELS,
        "means": {name: filled(figures, 0.0) for name, figures in MEANS.items()},
        "leads": {
            name: {key: [2, cutoffs] for key in ("normalized_gini", "cap20", "hit20", "buy_auc", "growth_auc")}
            for name in ("rfm_sum", "least_last_horizon_spend")
        },
        "spend_share_by_tenth": {
            "scores": [0.5, 0.2, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0],
            "rfm_sum": [0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01],
        },
        "growth_lift_by_tenth": {"scores": np.linspace(2.5, 0.3, 10).tolist(), "rfm_sum": [1.0] * 10},
        "held_cap20": 0.67,
        "cutoffs": [
            {
                "cutoff": iso_time((FIRST_DAY + 28 * place) * MS_PER_DAY),
                "customer_count": 1_000 + place,
                "methods": {name: filled(figures, 0.01 * place) for name, figures in MEANS.items()},
                "held_cap20": 0.67,
            }
            for place in range(cutoffs)
        ],
        "notes": [],
    }


def make_predictions(evaluation: PrequentialEvaluation | None = None, **changes: Any) -> dict[str, Any]:
    """Give all that a run says of its predictions."""
    evaluation = make_evaluation() if evaluation is None else evaluation
    return {
        "horizon_days": 84,
        "prequential": prequential_document(evaluation),
        "drift": drift_document(evaluation),
        "scoring_switches": [],
        "methods": make_methods(),
        "notes": [],
        **changes,
    }
