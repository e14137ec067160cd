"""LightGBM trained on matured snapshots: what a batch project would reach with the same purchases."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.judging.baselines import Question
from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.purchase_log import PurchaseLog
from stream_app.backtest.judging.snapshot_features import snapshot_features
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.draws import hashed_bits
from stream_app.learning.prequential import has_grown

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

PERIOD_MS = 28 * MS_PER_DAY
SNAPSHOTS_MAX = 13
"""A year of them; older ones tell of other times."""
EXAMPLES_PER_SNAPSHOT_MAX = 50_000
EXAMPLES_MIN = 200
POSITIVES_MIN = 20
SAMPLE_SEED = 7
ROUNDS = 150
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.04,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.7,
    "lambda_l2": 5.0,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Examples:
    """Features of snapshots and what came of them, row by row."""

    features: FloatArray
    spend: FloatArray
    has_bought: BoolArray
    has_grown: BoolArray


class BoostedTrees:
    """Trains three models at each cutoff: spend, buying, growth.

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
        self._lightgbm = load_lightgbm()
        self._matured: dict[tuple[int, int], _Examples | None] = {}

    def prediction(self, question: Question) -> Prediction:
        """Train on the snapshots whose labels ended before the cutoff, and predict.

        Parameters
        ----------
        question
            Whom to predict, and when. While less than 3 H has passed since the log began, the labels reach over a
            third of that: the rankings are then of that shorter time.

        Returns
        -------
        Prediction
            Says nothing when fewer than `EXAMPLES_MIN` labels have matured or hardly anybody bought.
        """
        horizon_ms = training_horizon_ms(self._log.start_ms, question)
        snapshots = snapshot_times(self._log.start_ms, question.cutoff_ms, horizon_ms)
        parts = [part for part in (self._examples(time_ms, horizon_ms) for time_ms in snapshots) if part is not None]
        if sum(len(part.spend) for part in parts) < EXAMPLES_MIN:
            return Prediction()
        features = np.concatenate([part.features for part in parts])
        spend = np.concatenate([part.spend for part in parts])
        bought = np.concatenate([part.has_bought for part in parts])
        grew = np.concatenate([part.has_grown for part in parts])
        if min(bought.sum(), (~bought).sum()) < POSITIVES_MIN:
            return Prediction()
        asked = snapshot_features(self._log, Question(question.customers, question.cutoff_ms, horizon_ms))
        scale = float(spend.mean())
        buy = self._trained(features, bought, asked, objective="binary")
        is_growth_learnable = min(grew.sum(), (~grew).sum()) >= POSITIVES_MIN
        return Prediction(
            value=self._trained(features, spend / scale, asked, objective="tweedie"),
            buy=buy,
            growth=self._trained(features, grew, asked, objective="binary") if is_growth_learnable else None,
            buy_probability=buy if horizon_ms == question.horizon_ms else None,
        )

    def _trained(self, features: FloatArray, labels: NDArray[Any], asked: FloatArray, *, objective: str) -> FloatArray:
        data = self._lightgbm.Dataset(features, label=labels.astype(np.float64), params={"verbosity": -1})
        booster = self._lightgbm.train(PARAMETERS | {"objective": objective}, data, num_boost_round=ROUNDS)
        return np.asarray(booster.predict(asked), dtype=np.float64)

    def _examples(self, time_ms: int, horizon_ms: int) -> _Examples | None:
        key = (time_ms, horizon_ms)
        if key not in self._matured:
            self._matured[key] = self._make_examples(time_ms, horizon_ms)
            for old in sorted(self._matured)[: -2 * SNAPSHOTS_MAX]:
                del self._matured[old]
        return self._matured[key]

    def _make_examples(self, time_ms: int, horizon_ms: int) -> _Examples | None:
        customers = np.unique(self._log.baskets.between(0, time_ms).customers)
        if len(customers) > EXAMPLES_PER_SNAPSHOT_MAX:
            order = np.argsort(hashed_bits(customers.astype(np.uint64), SAMPLE_SEED), kind="stable")
            customers = np.sort(customers[order[:EXAMPLES_PER_SNAPSHOT_MAX]])
        if not len(customers):
            return None
        spend, baskets = self._log.spend_and_baskets(time_ms, time_ms + horizon_ms)
        previous, _ = self._log.spend_and_baskets(time_ms - horizon_ms, time_ms)
        features = snapshot_features(self._log, Question(customers, time_ms, horizon_ms))
        grew = has_grown(spend[customers], previous[customers])
        return _Examples(features.astype(np.float32), spend[customers], baskets[customers] > 0.0, grew)


def training_horizon_ms(start_ms: int, question: Question) -> int:
    """Give the length of the labels: H, or a third of the history in whole days while that is shorter."""
    third_days = (question.cutoff_ms - start_ms) // MS_PER_DAY // 3
    return min(question.horizon_ms, max(third_days, 1) * MS_PER_DAY)


def snapshot_times(start_ms: int, cutoff_ms: int, horizon_ms: int) -> list[int]:
    """Give the times of matured snapshots, newest first: labels end at the cutoff or before, and prev is whole."""
    last_ms = cutoff_ms - horizon_ms
    times_ms = [last_ms - number * PERIOD_MS for number in range(SNAPSHOTS_MAX)]
    return [time_ms for time_ms in times_ms if time_ms - horizon_ms >= start_ms]


def load_lightgbm() -> ModuleType:
    """Import LightGBM.

    Raises
    ------
    SettingsError
        Code `extra_missing`, with what to install.
    """
    try:
        return import_module("lightgbm")
    except ImportError as error:
        message = "--compare needs LightGBM: install the extra with `pip install 'stream-app[compare]'`"
        raise SettingsError(message, code="extra_missing") from error
    except OSError as error:
        message = f"--compare needs LightGBM, which cannot be loaded ({error}); install what it names (as libgomp)"
        raise SettingsError(message, code="extra_missing") from error
