"""`stream-app judge --truth`: hold scores of a simulated shop against the true parameters of its customers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stream_app.adapters.event_files import EventLogOptions, open_event_log
from stream_app.backtest.judging.scores_table import ScoresTable
from stream_app.backtest.judging.truth import TruthFigures, judge_truth
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family
from stream_app.simulation.posterior import PurchaseHistory, SimulatedShop

if TYPE_CHECKING:
    from stream_app.backtest.judging.run import JudgeSettings


def truth_figures(settings: JudgeSettings, truth: Path) -> tuple[TruthFigures, ...]:
    """Read a shop's purchases and truth, and judge every cutoff of the scores.

    Parameters
    ----------
    settings
        Scores, events, policy and horizon.
    truth
        A truth file of `stream-app simulate`.

    Raises
    ------
    SettingsError
        When a file is not as it must be, or nobody had bought before any cutoff.
    """
    options = EventLogOptions(run_started_ms=settings.run_started_ms, mapping=settings.mapping)
    ids, times_ms, amounts = [], [], []
    with open_event_log(settings.patterns, settings.policy, options) as log:
        for batch in log.batches():
            own = (batch.families == Family.PURCHASE) & (batch.amounts > 0.0)
            ids.append(batch.customer_ids[own])
            times_ms.append(batch.times_ms[own])
            amounts.append(batch.amounts[own])
    history = PurchaseHistory(np.concatenate(ids), np.concatenate(times_ms), np.concatenate(amounts))
    found = judge_truth(ScoresTable(settings.scores), SimulatedShop(truth, history), settings.horizon_ms)
    if not found:
        message = f"--truth: nobody had bought before any cutoff of {settings.scores}; take later ones (--score-from)"
        raise SettingsError(message, code="no_buyers")
    return found
