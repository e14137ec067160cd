"""What customers did in the horizon that a method was asked about."""

from __future__ import annotations

from stream_app.backtest.judging.baselines import Question
from stream_app.backtest.judging.figures import Outcome
from stream_app.backtest.judging.purchase_log import PurchaseLog


def outcome_of(log: PurchaseLog, question: Question) -> Outcome:
    """Add up what came in [T, T + H), and what had been in [T - H, T) if the log goes back that far."""
    cutoff_ms, horizon_ms, who = question.cutoff_ms, question.horizon_ms, question.customers
    spend, baskets = log.spend_and_baskets(cutoff_ms, cutoff_ms + horizon_ms)
    previous = None
    if cutoff_ms - horizon_ms >= log.start_ms:
        previous = log.spend_and_baskets(cutoff_ms - horizon_ms, cutoff_ms)[0][who]
    return Outcome(spend[who], baskets[who], previous)
