"""An alarm for when predictions get worse: River's Page-Hinkley test on the loss, with a state of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from river import drift, stats

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.learning.states import join_states, part_of

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

BLOCKS_MIN = 30
"""Blocks before the first alarm is possible."""
TOLERATED_INCREASE = 0.01
"""Rise of the mean loss, in nats, that is nobody's business."""
ALARM_THRESHOLD = 1.0
"""Accumulated rise, in nats times blocks, that raises the alarm. The mean loss of 128 outcomes varies by some .035:
with these figures a false alarm comes once in millions of blocks, and a rise by .05 is seen after about 25 blocks."""
FORGETTING = 0.9999
BLOCK_OUTCOMES = 128
"""Outcomes whose mean loss counts as one."""
LATEST_BLOCKS = 8
"""Blocks whose mean tells what the loss had risen to when an alarm was raised."""
ALARMS_MAX = 50
"""Alarms remembered; older ones are only counted."""
STATE_VERSION = 1


class DriftAlarm:
    """Watches the mean loss of block after block; owned and changed by the learner alone.

    References
    ----------
    E. S. Page (1954), Continuous Inspection Schemes, Biometrika 41(1/2), 100-115.
    """

    def __init__(self) -> None:
        self._detector = drift.PageHinkley(
            min_instances=BLOCKS_MIN,
            delta=TOLERATED_INCREASE,
            threshold=ALARM_THRESHOLD,
            alpha=FORGETTING,
            mode="up",
        )
        self._alarm_count = 0

    @property
    def alarm_count(self) -> int:
        """How often the loss has risen for good."""
        return self._alarm_count

    @property
    def mean_loss(self) -> float:
        """Mean of the blocks since the test began anew; 0 before any."""
        return float(self._detector._x_mean.get())

    def update(self, mean_loss: float) -> bool:
        """Take in the mean loss of the next block and say whether this raises the alarm; the test then starts anew.

        Raises
        ------
        SettingsError
            If the loss is not finite; nothing changes.
        """
        if not math.isfinite(mean_loss):
            message = f"mean loss = {mean_loss}: it must be finite; repair the predictions it comes from"
            raise SettingsError(message, code="invalid_loss")
        self._detector.update(mean_loss)  # type: ignore[no-untyped-call]  # River's method has no annotations.
        is_raised = bool(self._detector.drift_detected)
        self._alarm_count += is_raised
        return is_raised

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        detector = self._detector
        mean = detector._x_mean
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array([self._alarm_count, detector.drift_detected], dtype=np.int64),
            "numbers": np.array(
                [
                    mean.n,
                    mean._mean,
                    detector._sum_increase,
                    detector._sum_decrease,
                    detector._min_increase,
                    detector._max_decrease,
                ],
                dtype=np.float64,
            ),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> DriftAlarm:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        new = cls()
        detector = new._detector
        try:
            version = int(state["version"][0])
            new._alarm_count, is_raised = (int(value) for value in state["counters"])
            count, mean, increase, decrease, lowest, highest = (float(value) for value in state["numbers"])
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"drift state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION:
            message = f"drift state of version {version}: version {STATE_VERSION} is needed; learn afresh"
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        detector._drift_detected = bool(is_raised)
        detector._x_mean = stats.Mean._from_state(count, mean)
        detector._sum_increase, detector._sum_decrease = increase, decrease
        detector._min_increase = lowest
        detector._max_decrease = highest  # type: ignore[assignment]  # River starts it as an int and goes on in floats.
        return new


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """One alarm.

    Parameters
    ----------
    day
        When the outcomes came that raised it, days since 1970-01-01.
    loss_before
        Mean loss since the alarm before it, in nats, or since the beginning.
    loss_after
        Mean loss of the last `LATEST_BLOCKS` blocks.
    """

    day: float
    loss_before: float
    loss_after: float


class LossWatch:
    """Cuts a stream of losses into blocks and remembers the alarms they raise; changed by the learner alone.

    The blocks go on from call to call, so that alarms do not depend on how outcomes are cut into calls.
    """

    def __init__(self) -> None:
        self._alarm = DriftAlarm()
        self._open = np.empty(0)
        self._latest = np.empty(0)
        self._raised: list[RaisedAlarm] = []

    @property
    def alarm_count(self) -> int:
        """How often an alarm was raised."""
        return self._alarm.alarm_count

    @property
    def raised(self) -> tuple[RaisedAlarm, ...]:
        """The last `ALARMS_MAX` alarms, oldest first."""
        return tuple(self._raised)

    def add(self, losses: FloatArray, day: float) -> None:
        """Take in the losses of outcomes.

        Parameters
        ----------
        losses
            Shape `(n,)`, finite, in the order in which they are learned.
        day
            When they came, days since 1970-01-01.

        Raises
        ------
        SettingsError
            If a loss is not finite.
        """
        waiting = np.concatenate([self._open, losses])
        block_count = len(waiting) // BLOCK_OUTCOMES
        self._open = waiting[block_count * BLOCK_OUTCOMES :]
        for block in waiting[: block_count * BLOCK_OUTCOMES].reshape(block_count, BLOCK_OUTCOMES):
            mean_loss, before = float(block.mean()), self._alarm.mean_loss
            self._latest = np.append(self._latest, mean_loss)[-LATEST_BLOCKS:]
            if self._alarm.update(mean_loss):
                self._raised = [*self._raised, RaisedAlarm(day, before, float(self._latest.mean()))][-ALARMS_MAX:]

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        raised = np.array([astuple(alarm) for alarm in self._raised], dtype=np.float64).reshape(-1, 3)
        return join_states({"alarm": self._alarm.state()}) | {
            "open": self._open.copy(),
            "latest": self._latest.copy(),
            "raised": raised,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> LossWatch:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        new = cls()
        new._alarm = DriftAlarm.from_state(part_of(state, "alarm"))
        try:
            new._open = np.array(state["open"], dtype=np.float64).reshape(-1)
            new._latest = np.array(state["latest"], dtype=np.float64).reshape(-1)
            new._raised = [RaisedAlarm(*(float(value) for value in row)) for row in state["raised"]]
        except (KeyError, ValueError, TypeError) as error:
            message = f"drift state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        return new
