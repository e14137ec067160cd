"""Segment changes of one partition as records of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.encoding import ChangeEncoder
from stream_app.domain.effects import Changes
from stream_app.domain.events import EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.engine import Engine


class _Offsets:
    """Sources of a run's events, as the change encoder wants them."""

    def __init__(self, topic: str, partition: int, positions: NDArray[np.int64]) -> None:
        self._begin = b'{"topic":"%b","partition":%d,"offset":' % (topic.encode(), partition)
        self._topic, self._partition, self._positions = topic, partition, positions

    def of_event(self, index: int) -> Mapping[str, object]:
        return {"topic": self._topic, "partition": self._partition, "offset": int(self._positions[index])}

    def write(self, indices: Sequence[int]) -> list[bytes]:
        return [b"%b%d}" % (self._begin, offset) for offset in self._positions[indices].tolist()]


class ChangeRecords:
    """Writes the changes that an engine tells.

    Parameters
    ----------
    engine
        Whose changes they are.
    topic, partition
        Of the events.
    """

    def __init__(self, engine: Engine, topic: str, partition: int) -> None:
        terms = {name: function.terms for name, function in engine.functions.items()}
        self._encoder = ChangeEncoder(engine.policy, terms)
        self._topic, self._partition = topic, partition

    def write(self, changes: Changes, events: EventBatch | None, knowledge: Knowledge) -> list[bytes]:
        """Write changes, in their order.

        Parameters
        ----------
        changes
            What the engine told.
        events
            The batch that brought them; None for ticks.
        knowledge
            In force when it did.
        """
        positions = np.empty(0, dtype=np.int64) if events is None else events.positions
        return self._encoder.encode(
            changes,
            knowledge_version=knowledge.version,
            event_ids=() if events is None else events.event_ids,
            sources=_Offsets(self._topic, self._partition, positions),
            scoring=knowledge.scoring,
        )
