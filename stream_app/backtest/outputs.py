"""The data files of a backtest: changes, segments and scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_app.adapters.codec.encoding import ChangeEncoder
from stream_app.adapters.whole_files import unfinished_name, written_whole
from stream_app.backtest.replayable_log import ReplayableLog
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Changes, Effects, ScoredBlock
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.identifiers import hash_ids, pack_ids
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import PROSPECT_NAME, UNRATED_NAME, Policy
from stream_app.domain.scores import SCORES, build_functions

PERIOD_DAYS: Final = 28
WAITING_CHANGES_MAX: Final = 4096
SCORED_AXES: Final = ("value", "growth")
"""Axes that `scores.parquet` always has columns for; a policy's other axes follow them."""
_MODEL_COLUMNS: Final = ("expected_spend", "expected_purchases", "buy_probability", "alive_probability")
_TIME: Final = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, slots=True)
class EventSources:
    """Where the events of a batch stand in their files.

    Parameters
    ----------
    log
        The log that the batch comes from.
    positions
        Shape `(n,)`: of the batch.
    """

    log: ReplayableLog
    positions: NDArray[np.int64]

    def of_event(self, index: int) -> dict[str, object]:
        """Give file and row of one event of the batch."""
        return self.log.source_of(int(self.positions[index]))

    def write(self, indices: Sequence[int]) -> list[bytes]:
        """Write files and rows of events of the batch."""
        return self.log.written_sources(self.positions[indices])


class ChangesFile:
    """Writes `changes.jsonl`; it gets its name when it is complete.

    Parameters
    ----------
    path
        Where it goes.
    encoder
        Makes the records.
    log
        Where the events come from.
    from_ms
        Earlier changes are not written; None writes all.
    """

    def __init__(self, path: Path, encoder: ChangeEncoder, log: ReplayableLog, from_ms: int | None) -> None:
        self._path, self._unfinished = path, unfinished_name(path)
        self._encoder, self._log, self._from_ms = encoder, log, from_ms
        self._file: IO[bytes] = self._unfinished.open("wb")
        self._offset = 0
        # Where each customer's changes stand, so that those of a few can be read back: 16 bytes a change.
        self._keys: list[NDArray[np.uint64]] = []
        self._offsets: list[NDArray[np.int64]] = []
        # Changes of ticks under one knowledge are encoded together: a tick alone brings few, and each call costs.
        self._waiting: list[Changes] = []
        self._waiting_under: Knowledge | None = None

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Write the changes that events brought."""
        changes = self._wanted(effects)
        if len(changes):
            self._write_waiting()
            self._write(changes, knowledge, events.event_ids, EventSources(self._log, events.positions))

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Take the changes that a tick brought."""
        del time_ms
        changes = self._wanted(effects)
        if not len(changes):
            return
        if self._waiting_under is not knowledge or sum(map(len, self._waiting)) >= WAITING_CHANGES_MAX:
            self._write_waiting()
        self._waiting.append(changes)
        self._waiting_under = knowledge

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Nothing to write."""

    def finish(self) -> None:
        """Close the file and give it its name."""
        self._write_waiting()
        self._file.close()
        self._unfinished.replace(self._path)

    def changes_of(self, customer_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Read the changes of a few customers back from the finished file, in their order."""
        told: dict[str, list[dict[str, Any]]] = {customer_id: [] for customer_id in customer_ids}
        if not told or not self._keys:
            return told
        is_wanted = np.isin(np.concatenate(self._keys), hash_ids(pack_ids(customer_ids)))
        with self._path.open("rb") as file:
            for offset in np.concatenate(self._offsets)[is_wanted].tolist():
                file.seek(offset)
                change = orjson.loads(file.readline())
                # Another customer can have the same hash.
                if change["customer_id"] in told:
                    told[change["customer_id"]].append(change)
        return told

    def discard(self) -> None:
        """Remove the file if it is unfinished."""
        self._file.close()
        with suppress(FileNotFoundError):
            self._unfinished.unlink()

    def _wanted(self, effects: Effects) -> Changes:
        changes = effects.changes
        if self._from_ms is not None and len(changes):
            return changes.take(changes.effective_at_ms >= self._from_ms)
        return changes

    def _write_waiting(self) -> None:
        if self._waiting_under is not None:
            nowhere = EventSources(self._log, np.empty(0, dtype=np.int64))
            self._write(Changes.concatenate(self._waiting), self._waiting_under, (), nowhere)
        self._waiting, self._waiting_under = [], None

    def _write(self, changes: Changes, knowledge: Knowledge, event_ids: Sequence[str], sources: EventSources) -> None:
        records = self._encoder.encode(
            changes,
            knowledge_version=knowledge.version,
            event_ids=event_ids,
            sources=sources,
            scoring=knowledge.scoring,
        )
        ends = self._offset + np.cumsum(np.fromiter(map(len, records), dtype=np.int64, count=len(records)) + 1)
        self._keys.append(hash_ids(changes.customer_ids))
        self._offsets.append(np.concatenate(([self._offset], ends[:-1])))
        self._offset = int(ends[-1])
        # The empty one ends the last line: adding a byte to the end would copy all of them.
        records.append(b"")
        self._file.write(b"\n".join(records))


class ScoresFile:
    """Writes `scores.parquet`: everybody's scores at each cutoff, after its tick.

    Parameters
    ----------
    path
        Where it goes.
    shards
        Who is scored.
    policy
        Names axes and tiers.
    schedule
        The first cutoff and the time between cutoffs, in milliseconds; whole days. The first is None as long as it
        depends on the first event.
    """

    def __init__(self, path: Path, shards: Shards, policy: Policy, schedule: tuple[int | None, int]) -> None:
        self._path, self._unfinished = path, unfinished_name(path)
        self._shards, self._policy = shards, policy
        self._next_ms, self._period_ms = schedule
        self._schema = scores_schema(policy)
        self._functions = build_functions(policy, SCORES)
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd")

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Set the first cutoff one period after the day of the first event, unless it was given."""
        del effects, knowledge
        if self._next_ms is None:
            first_day_ms = int(events.times_ms.min()) // MS_PER_DAY * MS_PER_DAY
            self._next_ms = first_day_ms + self._period_ms

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Nothing to write: a cutoff is the first tick of a day, whose knowledge is renewed before it."""

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Write a cutoff when its time has come."""
        if self._next_ms is None or time_ms < self._next_ms:
            return
        if time_ms == self._next_ms:
            self._writer.write_table(self._scored(time_ms, knowledge))
        # A cutoff before the first event of the log is passed over, and so is one that a loaded state has passed.
        self._next_ms += -(-(time_ms + 1 - self._next_ms) // self._period_ms) * self._period_ms

    def finish(self) -> None:
        """Close the file and give it its name."""
        self._writer.close()
        self._unfinished.replace(self._path)

    def discard(self) -> None:
        """Remove the file if it is unfinished."""
        self._writer.close()
        with suppress(FileNotFoundError):
            self._unfinished.unlink()

    def _scored(self, time_ms: int, knowledge: Knowledge) -> pa.Table:
        blocks = list(self._shards.scored(time_ms, knowledge))
        ids, order = _in_order(blocks)
        count = len(ids)
        columns: dict[str, Any] = {
            "cutoff": pa.array(np.full(count, time_ms), type=_TIME),
            "customer_id": ids,
            "purchase_count": _joined([block.rows["purchase_count"] for block in blocks])[order].astype(np.int64),
            "horizon_days": np.full(count, self._policy.horizon_periods * PERIOD_DAYS, dtype=np.int32),
        }
        columns |= _model_columns(blocks, order)
        for name in _scored_axes(self._policy):
            if name not in self._policy.axis_names:
                columns[f"{name}_score"] = pa.nulls(count, pa.float64())
                columns[f"{name}_tier"] = columns[f"{name}_rank_tier"] = pa.nulls(count, pa.string())
                continue
            place = self._policy.axis_names.index(name)
            tiers = self._policy.axes[place].tiers
            scores = self._functions[name].shown(_joined([block.scores[:, place] for block in blocks])[order])
            columns[f"{name}_score"] = pa.array(scores, mask=np.isnan(scores))
            columns[f"{name}_tier"] = tier_names(_joined([block.states[:, place] for block in blocks])[order], tiers)
            ranks = _joined([block.rank_tiers[:, place] for block in blocks])[order]
            columns[f"{name}_rank_tier"] = tier_names(ranks, tiers, is_rank=True)
        return pa.table([columns[field.name] for field in self._schema], schema=self._schema)


def _model_columns(blocks: Sequence[ScoredBlock], order: NDArray[np.int64]) -> dict[str, pa.Array]:
    """Give what is expected of each buyer; null for who has not bought."""
    has_bought = _joined([block.rows["basket_count"] > 0 for block in blocks])[order]
    columns = {
        "expected_spend": [block.outlook.expected_spend for block in blocks],
        "expected_purchases": [block.outlook.expected_purchases for block in blocks],
        "buy_probability": [block.outlook.buy_probability for block in blocks],
        "alive_probability": [block.outlook.formula.purchases.alive_probability for block in blocks],
    }
    mask = ~has_bought.astype(np.bool_)
    return {name: pa.array(_joined(parts)[order], mask=mask) for name, parts in columns.items()}


def scores_schema(policy: Policy) -> pa.Schema:
    """Give the schema of `scores.parquet`; figures that nothing computes are null."""
    axes = _scored_axes(policy)
    fields = [
        ("cutoff", _TIME),
        ("customer_id", pa.string()),
        ("purchase_count", pa.int64()),
        *((f"{name}_score", pa.float64()) for name in axes),
        *((name, pa.float64()) for name in _MODEL_COLUMNS),
        ("horizon_days", pa.int32()),
        *((f"{name}_tier", pa.string()) for name in axes),
        *((f"{name}_rank_tier", pa.string()) for name in axes),
    ]
    return pa.schema(fields)


def write_segments(path: Path, shards: Shards, policy: Policy, time_ms: int, knowledge: Knowledge) -> None:
    """Write `segments.parquet`: every customer's segment at the end, in the order of id bytes.

    Parameters
    ----------
    path
        Where it goes; it gets its name when it is complete.
    shards
        Whose customers.
    policy
        Names axes, tiers and treatments.
    time_ms
        The scores are as of this time, in milliseconds since 1970-01-01 UTC.
    knowledge
        In force.
    """
    blocks = list(shards.scored(time_ms, knowledge))
    ids, order = _in_order(blocks)

    def own(name: str) -> NDArray[Any]:
        return _joined([block.rows[name] for block in blocks])[order]

    states = _joined([block.states for block in blocks], len(policy.axes))[order]
    columns: dict[str, Any] = {"customer_id": ids}
    functions = build_functions(policy, SCORES)
    for place, axis in enumerate(policy.axes):
        scores = functions[axis.name].shown(_joined([block.scores[:, place] for block in blocks])[order])
        columns[f"{axis.name}_tier"] = tier_names(states[:, place], axis.tiers)
        columns[f"{axis.name}_score"] = pa.array(scores, mask=np.isnan(scores))
    channels, actions = _treatments(states, policy)
    has_bought = own("purchase_count") > 0
    columns |= {
        "treatment_channel": channels,
        "treatment_action": actions,
        "sequence": own("sequence").astype(np.int64),
        "purchase_count": own("purchase_count").astype(np.int64),
        "gross_spend": own("gross_spend"),
        "net_spend": own("net_spend"),
        "first_purchase_at": _seconds(own("first_purchase_s"), has_bought),
        "last_purchase_at": _seconds(own("last_purchase_s"), has_bought),
        "last_event_at": pa.array(own("clock_ms"), type=_TIME),
        "as_of": pa.array(np.full(len(ids), time_ms), type=_TIME),
    }
    with written_whole(path) as unfinished:
        pq.write_table(pa.table(columns), unfinished, compression="zstd")


def segment_matrix(shards: Shards, policy: Policy) -> dict[tuple[str, ...], int]:
    """Count customers by segment: a state's name for each axis, in the policy's order."""
    counts: dict[tuple[int, ...], int] = {}
    for engine in shards.engines:
        if not len(engine.table):
            continue
        found, numbers = np.unique(engine.states(), axis=0, return_counts=True)
        for state, number in zip(found.tolist(), numbers.tolist(), strict=True):
            counts[tuple(state)] = counts.get(tuple(state), 0) + number
    return {policy.name_segment(state): number for state, number in sorted(counts.items())}


def tier_names(states: NDArray[np.int8], tiers: Sequence[str], *, is_rank: bool = False) -> pa.Array:
    """Name states; `UNRATED` is null where the tier is a rank."""
    names = pa.array([*tiers, PROSPECT_NAME, None if is_rank else UNRATED_NAME])
    # -1 (unrated) and -2 (prospect) count from the end of the names.
    places = np.where(states < 0, len(names) + states.astype(np.int64), states)
    return names.take(pa.array(places, type=pa.int64()))


def _treatments(states: NDArray[np.int8], policy: Policy) -> tuple[pa.Array, pa.Array]:
    if not len(states):
        return pa.array([], pa.string()), pa.array([], pa.string())
    found, inverse = np.unique(states, axis=0, return_inverse=True)
    treatments = [policy.treatment_for(policy.name_segment(state)) for state in found.tolist()]
    places = pa.array(inverse.reshape(-1))
    channels = pa.array([treatment.channel for treatment in treatments])
    actions = pa.array([treatment.action for treatment in treatments])
    return channels.take(places), actions.take(places)


def _seconds(values: NDArray[np.uint32], is_known: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values.astype(np.int64) * 1000, mask=~is_known).cast(_TIME)


def _scored_axes(policy: Policy) -> tuple[str, ...]:
    return (*SCORED_AXES, *(name for name in policy.axis_names if name not in SCORED_AXES))


def _in_order(blocks: Sequence[ScoredBlock]) -> tuple[pa.Array, NDArray[np.int64]]:
    """Give all ids in the order of their bytes, and that order."""
    if not blocks:
        return pa.array([], pa.string()), np.empty(0, dtype=np.int64)
    ids = np.concatenate([block.customer_ids for block in blocks])
    order = np.argsort(ids, kind="stable")
    return pa.array(ids[order], type=pa.binary()).cast(pa.string()), order


def _joined(parts: Sequence[NDArray[Any]], width: int | None = None) -> NDArray[Any]:
    if parts:
        return np.concatenate(parts)
    return np.empty(0 if width is None else (0, width))
