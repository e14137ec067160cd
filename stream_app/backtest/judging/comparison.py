"""Models that take a while to fit, as yardsticks: BG/NBD with Gamma-Gamma, and boosted trees."""

from __future__ import annotations

from stream_app.backtest.judging.baselines import Question
from stream_app.backtest.judging.batch_purchase_model import batch_purchase_prediction
from stream_app.backtest.judging.boosted_trees import BoostedTrees
from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.purchase_log import PurchaseLog

BGNBD = "bgnbd_gamma_gamma"
LIGHTGBM = "lightgbm"
COMPARISON_LABELS = {BGNBD: "BG/NBD + Gamma-Gamma", LIGHTGBM: "LightGBM"}


class Comparison:
    """Fits the models anew at each cutoff, from what lies before it.

    Parameters
    ----------
    log
        Purchases and refunds.

    Raises
    ------
    SettingsError
        Code `extra_missing`, when LightGBM is not installed.
    """

    def __init__(self, log: PurchaseLog) -> None:
        self._log = log
        self._trees = BoostedTrees(log)
        self._untrained_count = 0

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        if not self._untrained_count:
            return []
        return [f"{self._untrained_count} cutoffs had too few matured outcomes to train LightGBM."]

    def predictions(self, question: Question) -> dict[str, Prediction]:
        """Predict with each model; a model that cannot be fitted says nothing."""
        trees = self._trees.prediction(question)
        self._untrained_count += trees.value is None
        return {BGNBD: batch_purchase_prediction(self._log, question), LIGHTGBM: trees}
