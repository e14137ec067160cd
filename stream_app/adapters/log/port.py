"""The log port: all that shards, learner, web server and tools know of Kafka or of the embedded log.

`tests/log/contract.py` holds every log to it. A value has at most `RECORD_BYTES_MAX` bytes, a commit at most
`TRANSACTION_BYTES_MAX`, keys and headers are short; topics exist before anything is written to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class LogRecord(Protocol):
    """A record as it was read; the names are those of Kafka's clients, so that theirs need no copying."""

    @property
    def offset(self) -> int:
        """Where it stands in its partition; offsets rise, but may have holes."""

    @property
    def timestamp(self) -> int:
        """When it was appended or, if its producer said so, created: milliseconds since 1970-01-01 UTC."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its content; None is a tombstone."""

    @property
    def headers(self) -> Headers:
        """Its headers."""


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Records for one partition, as columns; they stand there in this order, without anything between them.

    Parameters
    ----------
    topic, partition
        Where they go.
    values
        Length n; None is a tombstone.
    keys, headers, timestamps_ms
        Length n, or None where none has any; records without a timestamp get the time of appending.
    """

    topic: str
    partition: int
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[Headers] | None = None
    timestamps_ms: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.values)


class Bounds(NamedTuple):
    """How far a partition reaches.

    Parameters
    ----------
    start
        Offset of the first record that is still kept.
    stable_end
        Offset before which no transaction is open (last stable offset).
    end
        Offset that the next record will get (high watermark).
    """

    start: int
    stable_end: int
    end: int


class Writer(Protocol):
    """The right to commit in the name of one owner; a newer writer of the same name takes it away (fencing).

    Commits of one writer come one after the other: whoever calls waits for one before the next. After any error, and
    after a cancelled commit, a writer is dead: close it, open a new one, and recover, since the outcome of the commit
    is not known.
    """

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        """Make records and positions durable in one transaction: all of it or nothing.

        Parameters
        ----------
        outgoing
            What to write; several for one partition follow each other there in this order.
        positions
            For each source partition the offset to go on from. They are told to the group for those who measure lag;
            what recovery goes by is in the state records.

        Returns
        -------
        list[int]
            Offset of the first record of each `Outgoing`, -1 for an empty one.

        Raises
        ------
        FencedError
            When a newer writer of this name exists; nothing was committed.
        LogError
            When it failed otherwise, or when it is not known whether it was committed.
        """

    async def close(self) -> None:
        """Give it up; an open transaction is aborted. More than once does no harm, nor does it after an error."""


class Log(Protocol):
    """A log of topics and partitions with transactions, as its clients see it. Only committed records are read."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Close everything that was opened; more than once does no harm."""

    async def writer(self, name: str) -> Writer:
        """Open the writer of an owner; from here on earlier ones of this name can commit no more."""

    async def append(self, outgoing: Sequence[Outgoing]) -> None:
        """Write records that belong to no owner; each once, but not all or none.

        They are durable when it returns. After an error those before some record of a partition are written, and none
        from there on.

        Raises
        ------
        LogError
            When it failed.
        """

    async def bounds(self, partition: TopicPartition) -> Bounds:
        """Tell how far a partition reaches now.

        Raises
        ------
        LogError
            When there is no such partition.
        """

    async def partition_count(self, topic: str) -> int | None:
        """Give the number of a topic's partitions; None when there is no such topic."""

    def read(self, partition: TopicPartition, start: int, end: int) -> AsyncIterator[Sequence[LogRecord]]:
        """Read the committed records with `start <= offset < end`, in chunks, and stop there.

        It stops, too, where only holes are left before `end`, and at the stable end as it is when reading begins.
        Records before the start of the partition are gone: whoever must not miss any compares `bounds` first.
        """

    def follow(self, starts: Mapping[TopicPartition, int]) -> AsyncIterator[tuple[TopicPartition, Sequence[LogRecord]]]:
        """Read committed records from these offsets on, and wait for more without end; outside of any group.

        A chunk holds records of one partition, in order. Partitions take turns; nothing is said of their order among
        each other. The iterator may be cancelled while it waits, and is closed by `aclose`.
        """

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        """Let the log forget records with `offset < before`; it may keep some of them.

        Parameters
        ----------
        partition
            Whose records.
        before
            At most the end of the partition; what lies before its start is forgotten already.
        """

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the group's positions, of those partitions that have one."""
