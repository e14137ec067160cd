"""A topic of events as a log to replay: once open, it has been read to its end and checked."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.event_files import ReadCounts, ReadProgress
from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.purchases import find_purchases
from stream_app.adapters.event_files.replay import read_batches
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.port import Bounds, Log, TopicPartition
from stream_app.adapters.log.urls import TopicUrl
from stream_app.backtest.topic_spool import OFFSET_BITS, TopicSpool
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import EventBatch
from stream_app.domain.policy import Policy
from stream_app.streaming.event_runs import EventSource

EVENTS_MAX: Final = 50_000
"""Length of a batch."""
OFFSET_MAX: Final = (1 << OFFSET_BITS) - 1
_GROUP: Final = "backtest"
"""Nothing is told to it: a backtest has no positions."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TopicSource:
    """What is read of a topic.

    Parameters
    ----------
    url
        Where it is.
    trusts_keys
        True: all events of a customer are in one partition, whatever their keys are.
    ends
        Offset of each partition to read up to; None: where it ends when it is opened.
    """

    url: TopicUrl
    trusts_keys: bool = False
    ends: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TopicLogOptions:
    """How to read a topic.

    Parameters
    ----------
    to_ms
        Events at or after it are ignored; None: no end.
    dead_letters_path
        Where refused records go as JSON Lines; None: they are only counted.
    on_progress
        Called now and then while the topic is read.
    """

    to_ms: int | None = None
    dead_letters_path: Path | None = None
    on_progress: Callable[[ReadProgress], None] | None = None


def fix_ends(source: TopicSource) -> TopicSource:
    """Fix where the partitions end, so that whoever reads the topic again reads the same.

    Raises
    ------
    SettingsError
        When there is no such topic.
    LogError
        When the log does not answer.
    """
    if source.ends is not None:
        return source

    async def ends(log: Log) -> tuple[int, ...]:
        return tuple(bounds.stable_end for bounds in await _bounds(log, source.url))

    return replace(source, ends=asyncio.run(_with_log(source.url, ends)))


def open_topic_log(source: TopicSource, policy: Policy, options: TopicLogOptions) -> TopicLog:
    """Read a topic to its end, and check its records as a worker does.

    Parameters
    ----------
    source
        What to read.
    policy
        What event types mean.
    options
        How to read.

    Returns
    -------
    TopicLog
        To be closed; its temporary files lie in the system's folder for such.

    Raises
    ------
    SettingsError
        When there is no such topic, or no record makes an event (code `no_events`; then dead letters stay). No
        temporary file is left behind.
    LogError
        When the log failed.
    """
    folder = tempfile.TemporaryDirectory(prefix="stream-app-events-", ignore_cleanup_errors=True)
    dead_letters = DeadLetterFile(options.dead_letters_path)
    spool = TopicSpool(Path(folder.name), EventDecoder(policy), dead_letters, to_ms=options.to_ms)
    reading = _Reading(source, spool, options.on_progress)
    try:
        bounds = asyncio.run(_with_log(source.url, reading.read))
        dead_letters.finish()
        _require_events(source.url, spool, options)
    except OSError as error:
        folder.cleanup()
        message = f"temporary files in {folder.name} cannot be written ({error.strerror or error}); make room"
        raise SettingsError(message, code="no_room") from error
    except BaseException:
        folder.cleanup()
        raise
    finally:
        dead_letters.discard()
    return TopicLog(source.url, folder, spool, bounds)


class TopicLog:
    """Events of a topic, ready for replay; a context manager that removes its temporary files.

    Partitions are merged by their watermarks, so that ticks come where each shard of a worker puts them.

    Parameters
    ----------
    url
        What was read.
    folder
        Of the temporary files.
    spool
        The events.
    bounds
        From where to where each partition was read.
    """

    def __init__(
        self, url: TopicUrl, folder: tempfile.TemporaryDirectory[str], spool: TopicSpool, bounds: Sequence[range]
    ) -> None:
        self._topic, self._folder, self._spool = url.topic, folder, spool
        self.files = (str(url),)
        self.counts: ReadCounts = spool.tally.finish(spool.tally.rows_accepted, 0)
        self.first_time_ms, self.last_time_ms = spool.span.first_ms, spool.span.last_ms
        self.has_event_ids = True
        self.notes = tuple(
            f"Partition {number} begins at offset {own.start:,}: what stood before is gone, and is not counted."
            for number, own in enumerate(bounds)
            if own.start > 0
        )

    def __enter__(self) -> TopicLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files; the log cannot be read any more. Closing twice does no harm."""
        self._folder.cleanup()

    def batches(self) -> Iterator[EventBatch]:
        """Give the events in order of replay; each call begins anew."""
        return read_batches(self._spool.batches(), EVENTS_MAX, _place_of)

    def source_of(self, position: int) -> dict[str, object]:
        """Give topic, partition and offset of an event."""
        return {"topic": self._topic, "partition": position >> OFFSET_BITS, "offset": position & OFFSET_MAX}

    def written_sources(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Write topic, partition and offset of events as JSON; the same as `source_of`, for many at once."""
        begin = b'{"topic":%b,"partition":' % orjson.dumps(self._topic)
        partitions, offsets = (positions >> OFFSET_BITS).tolist(), (positions & OFFSET_MAX).tolist()
        return [b'%b%d,"offset":%d}' % (begin, *place) for place in zip(partitions, offsets, strict=True)]

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give how many records each event stands for: one, here as in a worker."""
        return np.ones(len(positions), dtype=np.int64)

    def purchases_of(self, customer_ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
        """Give time and amount of the purchases and refunds of a few customers, a refund's negative."""
        return find_purchases(self._spool.batches(), customer_ids)


class _Reading:
    """Reads the partitions of a topic into a spool, one after the other."""

    def __init__(
        self, source: TopicSource, spool: TopicSpool, on_progress: Callable[[ReadProgress], None] | None
    ) -> None:
        self._source, self._spool, self._on_progress = source, spool, on_progress

    async def read(self, log: Log) -> list[range]:
        """Read everything; gives from where to where each partition was read."""
        source, url = self._source, self._source.url
        bounds = await _bounds(log, url)
        ends = source.ends or tuple(own.stable_end for own in bounds)
        reaches = [range(own.start, max(own.start, end)) for own, end in zip(bounds, ends, strict=False)]
        total, done = sum(map(len, reaches)), 0
        for partition, reach in enumerate(reaches):
            self._spool.begin(EventSource(url.topic, partition, source.trusts_keys), len(reaches))
            async for records in log.read(TopicPartition(url.topic, partition), reach.start, reach.stop):
                self._spool.add(records)
                self._report(done + records[-1].offset + 1 - reach.start, total)
            self._spool.end()
            done += len(reach)
        return reaches

    def _report(self, offsets_read: int, offsets_total: int) -> None:
        if self._on_progress is not None:
            rows_read = self._spool.tally.rows_read
            self._on_progress(ReadProgress("read", offsets_read, offsets_total, rows_read))


async def _with_log(url: TopicUrl, work: Callable[[Log], Awaitable[Result]]) -> Result:
    log = open_log(url.log, _GROUP)
    try:
        await log.start()
        return await work(log)
    finally:
        await log.stop()


async def _bounds(log: Log, url: TopicUrl) -> list[Bounds]:
    count = await log.partition_count(url.topic)
    if count is None:
        message = f"{url}: there is no such topic; name another one, or the topic by --topic"
        raise SettingsError(message, code="missing_topic")
    return [await log.bounds(TopicPartition(url.topic, partition)) for partition in range(count)]


def _place_of(position: int) -> str:
    """Name an event by its place; records without an id are refused, so nobody asks."""
    return f"{position >> OFFSET_BITS}:{position & OFFSET_MAX}"


def _require_events(url: TopicUrl, spool: TopicSpool, options: TopicLogOptions) -> None:
    tally = spool.tally
    if tally.rows_accepted:
        return
    message = f"{url}: no events: the topic is empty"
    if tally.rows_read:
        reasons = ", ".join(f"{reason} {count}" for reason, count in (tally.ignored + tally.dead_letters).most_common())
        message = f"{url}: no events: none of {tally.rows_read} records can be used ({reasons})"
    if options.dead_letters_path is not None and tally.dead_letters:
        message += f"; see {options.dead_letters_path}"
    raise SettingsError(message, code="no_events")
