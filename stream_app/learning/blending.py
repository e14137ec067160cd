"""How much past spends count in the value score beside what is expected: by which blend has ranked what came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.learning.prequential import normalized_gini

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

PAST_SHARES = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
"""Weights of past spends, relative to that of forecasts. None is 0: customers of whom nothing is expected are ranked by
what they spent, and past spends are always among the reasons."""
FIRST_PLACE = 1
"""The blend that counts unless outcomes speak for another one: .06, within .01 of the best on all logs tried."""
REMEMBERED_MAX = 8_192
"""Outcomes to compare the blends on; the oldest are dropped."""
GROUP_SIZE = 256
"""Outcomes that are ranked together, one group after the other in time: forecasts of different days are made by
different models. How far the groups agree tells a difference from chance."""
GROUPS_MIN = 3
"""With fewer groups the blend stays."""
ERRORS_MIN = 1.5
"""Standard errors that are taken off a gain before it counts."""


class PastShareChoice:
    """Remembers outcomes beside both parts of the value score; owned and changed by the learner alone."""

    def __init__(self) -> None:
        # Columns: past, forecast, spend.
        self._remembered = np.zeros((0, 3))
        self._place = FIRST_PLACE

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

    def choose(self) -> float:
        """Take at most one step towards the blend that ranks best, and give the weight of past spends.

        A blend's gain is its normalised Gini over that of the first blend, averaged over the groups, less
        `ERRORS_MIN` standard errors. One step at a time, since each moves many customers.

        Returns
        -------
        float
            One of `PAST_SHARES`.
        """
        gains = self._gains()
        if len(gains) >= GROUPS_MIN:
            # The first blend's own gain is 0 without any error.
            errors = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
            best = int(np.argmax(gains.mean(axis=0) - ERRORS_MIN * errors))
            self._place += int(np.sign(best - self._place))
        return self.share

    def _gains(self) -> FloatArray:
        """Give each blend's gain over the first blend, a row for each whole group in which somebody spent."""
        whole = self._remembered[len(self._remembered) % GROUP_SIZE :]
        figures = np.array(
            [
                [normalized_gini(share * past + forecast, spend) for share in PAST_SHARES]
                for past, forecast, spend in whole.reshape(-1, GROUP_SIZE, 3).transpose(0, 2, 1)
            ]
        ).reshape(-1, len(PAST_SHARES))
        figures = figures[np.isfinite(figures).all(axis=1)]
        return np.asarray(figures - figures[:, [FIRST_PLACE]], dtype=np.float64)

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
