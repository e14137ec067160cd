"""How much past spends count in the value score beside what is expected, by which blend has ranked what came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.learning.prequential import normalized_gini

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

PAST_SHARES = (1.0, 0.5, 0.25, 0.1)
"""Weights of past spends, relative to that of forecasts. The first is steadier and does not lean on the purchase model;
it is kept unless outcomes speak against it. None is 0: past spends are always among the reasons."""
REMEMBERED_MAX = 8_192
"""Outcomes to compare the blends on; the oldest are replaced."""
GROUPS = 8
"""Parts of them, one after the other in time, within which customers are ranked: forecasts of different days are made
by different models. How far the parts agree tells a difference from chance."""
GROUP_SIZE_MIN = 50
"""Smaller groups rank nothing: with fewer than 400 outcomes the first blend stays."""
GAIN_MIN = 0.004
"""A smaller gain of normalised Gini is worth neither a change of everybody's score nor more tier changes: forecasts
move more than past spends do."""
ERRORS_MIN = 2.0
"""Standard errors that a gain must be above nothing."""


class PastShareChoice:
    """Remembers outcomes beside both parts of the value score; owned and changed by the learner alone."""

    def __init__(self) -> None:
        # Columns: past, forecast, spend.
        self._remembered = np.zeros((0, 3))
        self._place = 0

    @property
    def share(self) -> float:
        """Weight of past spends in force."""
        return PAST_SHARES[self._place]

    def learn_many(self, past: FloatArray, forecast: FloatArray, spend: FloatArray) -> None:
        """Remember matured predictions and what came of them.

        Parameters
        ----------
        past, forecast
            Shape `(n,)`: sums of the value score's log amounts that were spent, and that were expected, at the
            snapshots.
        spend
            Shape `(n,)`: gross spend since.
        """
        added = np.stack([past, forecast, spend], axis=1)
        self._remembered = np.concatenate([self._remembered, added])[-REMEMBERED_MAX:]

    def choose(self, label_periods: int) -> float:
        """Take at most one step towards the blend that ranks best, and give the weight of past spends.

        A blend is better than the first when its normalised Gini, averaged over the groups, is higher by `GAIN_MIN`
        and by `ERRORS_MIN` standard errors. One step at a time, since each moves many customers.

        Parameters
        ----------
        label_periods
            How far the outcomes reach, in periods of 28 days. Those of a single one say little of a whole horizon:
            they allow no smaller weight than .25.

        Returns
        -------
        float
            One of `PAST_SHARES`.
        """
        gains = self._gains()
        if gains is None:
            return self.share
        means = gains.mean(axis=1)
        errors = gains.std(axis=1, ddof=1) / np.sqrt(GROUPS)
        is_better = (means > GAIN_MIN) & (means > ERRORS_MIN * errors)
        best = min(int(np.argmax(np.where(is_better, means, 0.0))), label_periods + 1)
        self._place += int(np.sign(best - self._place))
        return self.share

    def _gains(self) -> FloatArray | None:
        """Give each blend's gain over the first in each group, `(n_blends, GROUPS)`; None where too little is known."""
        if len(self._remembered) < GROUPS * GROUP_SIZE_MIN:
            return None
        figures = np.array(
            [
                [normalized_gini(share * past + forecast, spend) for share in PAST_SHARES]
                for past, forecast, spend in (group.T for group in np.array_split(self._remembered, GROUPS))
            ]
        )
        return (figures - figures[:, :1]).T if np.isfinite(figures).all() else None

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        return {"remembered": self._remembered.copy(), "place": np.array([self._place], dtype=np.int64)}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> PastShareChoice:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not such a state.
        """
        new = cls()
        try:
            new._place = int(state["place"][0])
            new._remembered = np.array(state["remembered"], dtype=np.float64).reshape(-1, 3)
            is_whole = 0 <= new._place < len(PAST_SHARES) and bool(np.isfinite(new._remembered).all())
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"blending state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if not is_whole:
            message = "blending state holds values out of range: restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state")
        return new
