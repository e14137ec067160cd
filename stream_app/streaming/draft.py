"""What a shard is about to commit: gathered step by step, written as records for the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.current_segments import CurrentSegmentEncoder, CurrentSegments
from stream_app.adapters.log.port import Headers, Outgoing
from stream_app.adapters.log.topics import Topics
from stream_app.domain.effects import Changes
from stream_app.domain.rating import rated, states_of
from stream_app.domain.rows import NOT_HELD
from stream_app.engine import Engine
from stream_app.streaming.event_runs import DeadLetter

DRAFT_ROWS_MAX = 8192
"""Rows of a commit: 3 MB of them, and as many again that are rewritten, leave room for the outputs in 8 MB."""
DRAFT_BYTES_MAX = 2_000_000
"""Bytes of outputs after which a commit is due."""


@dataclass(slots=True, eq=False)
class Draft:
    """Effects of steps since the last commit of a shard; `rows_max` rows make it full."""

    rows_max: int = DRAFT_ROWS_MAX
    change_values: list[bytes] = field(default_factory=list)
    change_keys: list[bytes] = field(default_factory=list)
    change_headers: list[Headers] = field(default_factory=list)
    changed: list[Changes] = field(default_factory=list)
    touched: list[NDArray[np.int64]] = field(default_factory=list)
    learner_input: list[bytes] = field(default_factory=list)
    journal: list[bytes] = field(default_factory=list)
    erased: list[NDArray[np.int64]] = field(default_factory=list)
    tombstones: list[bytes] = field(default_factory=list)
    row_count: int = 0
    byte_count: int = 0

    @property
    def is_full(self) -> bool:
        """Tell whether it should be committed before more is added."""
        return self.row_count >= self.rows_max or self.byte_count >= DRAFT_BYTES_MAX

    def note(self, **entry: Any) -> None:
        """Add an entry to the journal."""
        self.journal.append(orjson.dumps(entry))

    def tell_changes(self, changes: Changes, values: list[bytes], headers: list[Headers]) -> None:
        """Add segment changes and how they are written."""
        if not len(changes):
            return
        self.changed.append(changes)
        self.change_values += values
        self.change_keys += changes.customer_ids.tolist()
        self.change_headers += headers
        self.byte_count += 2 * sum(map(len, values))

    def tell_learner(self, records: Iterable[bytes]) -> None:
        """Add records for the learner."""
        for record in records:
            self.learner_input.append(record)
            self.byte_count += len(record)

    def touch(self, rows: NDArray[np.int64]) -> None:
        """Note rows that changed."""
        self.touched.append(rows)
        self.row_count += len(rows)

    def touched_rows(self) -> NDArray[np.int64]:
        """Give the rows that changed, each once, rising."""
        if not self.touched:
            return np.empty(0, dtype=np.int64)
        return np.unique(np.concatenate(self.touched))


class DraftWriter:
    """Writes drafts of one shard.

    Parameters
    ----------
    topics
        Where records go.
    partition
        Of the shard.
    segments
        Writes current segments.
    """

    def __init__(self, topics: Topics, partition: int, segments: CurrentSegmentEncoder) -> None:
        self._topics, self._partition, self._segments = topics, partition, segments

    def write(
        self, draft: Draft, engine: Engine, dead_letters: list[DeadLetter], *, knowledge_version: int
    ) -> list[Outgoing]:
        """Give the records of a draft, but for the state."""
        own = self._partition
        topics = self._topics
        letters = (topics.dead_letters, own, [letter.value for letter in dead_letters])
        told = [
            Outgoing(topics.segment_changes, own, draft.change_values, draft.change_keys, draft.change_headers),
            self._current_segments(draft, engine, knowledge_version),
            Outgoing(*letters, headers=[letter.headers for letter in dead_letters]),
            Outgoing(topics.learner_input, 0, draft.learner_input),
            Outgoing(topics.journal, own, draft.journal),
        ]
        return [outgoing for outgoing in told if len(outgoing)]

    def _current_segments(self, draft: Draft, engine: Engine, knowledge_version: int) -> Outgoing:
        keys: list[bytes] = [*draft.tombstones]
        values: list[bytes | None] = [None] * len(keys)
        if draft.changed:
            ids = np.concatenate([changes.customer_ids for changes in draft.changed])
            times_ms = np.concatenate([changes.effective_at_ms for changes in draft.changed])
            # The last change of each customer says when it was scored.
            firsts_from_behind = np.unique(ids[::-1], return_index=True)[1]
            chosen = np.sort(len(ids) - 1 - firsts_from_behind)
            ids, times_ms = ids[chosen], times_ms[chosen]
            numbers = engine.table.find(ids)
            is_known = numbers >= 0
            ids, times_ms, numbers = ids[is_known], times_ms[is_known], numbers[is_known]
            rows = engine.table.gather(numbers)
            is_rated = rated(rows, rates_everyone=engine.policy.rates_everyone)
            scores = np.where(is_rated[:, None] & (rows["bucket"] != NOT_HELD), rows["score"], np.nan)
            states = states_of(rows["held"], is_rated)
            customers = CurrentSegments(ids, states, scores, rows["sequence"].copy(), times_ms)
            keys += ids.tolist()
            values += self._segments.encode(customers, knowledge_version=knowledge_version)
        return Outgoing(self._topics.current_segments, self._partition, values, keys)
