"""Segment changes on disk, so that nothing is read twice: one SQLite file, made anew from the topics if it is lost."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.errors import SettingsError
from stream_app.web.change_records import (
    HOUR_MS,
    NO_TIER,
    Batch,
    ChangeFilter,
    HourCount,
    Position,
    StoredChange,
    WireChange,
)

SCHEMA_VERSION = 2
"""Goes up with every change of the tables below; files of another version are made anew."""
_CACHE_KIB = 65_536

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    topic TEXT, partition INTEGER, next INTEGER NOT NULL, last BLOB NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY,
    customer BLOB NOT NULL, sequence INTEGER NOT NULL, axis INTEGER NOT NULL,
    from_tier INTEGER NOT NULL, to_tier INTEGER NOT NULL, cause TEXT NOT NULL, time_ms INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX changes_of_customer ON changes (customer, sequence);
CREATE INDEX changes_by_time ON changes (time_ms, number);
CREATE INDEX changes_by_cause ON changes (cause, time_ms, number);
CREATE INDEX changes_by_tiers ON changes (axis, to_tier, from_tier, time_ms, number);
CREATE TABLE hours (
    hour INTEGER, axis INTEGER, from_tier INTEGER, to_tier INTEGER, cause TEXT, changes INTEGER NOT NULL,
    PRIMARY KEY (hour, axis, from_tier, to_tier, cause)
) WITHOUT ROWID;
CREATE TABLE quality (number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE knowledge (version INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""
_SELECT = "SELECT number, time_ms, sequence, record FROM changes"
_COUNT_HOUR = (
    "INSERT INTO hours VALUES (?,?,?,?,?,1) "
    "ON CONFLICT (hour, axis, from_tier, to_tier, cause) DO UPDATE SET changes = changes + 1"
)


_decode_change = msgspec.json.Decoder(WireChange).decode


class History:
    """The store. Calls may come from several threads; each takes its turn.

    Parameters
    ----------
    path
        The file; None keeps everything in memory.
    identity
        What it is a history of: application, log, policy. A file of another one is made anew.
    axes
        Names of axes and tiers, in the policy's order.
    """

    def __init__(self, path: Path | None, identity: str, axes: Sequence[tuple[str, Sequence[str]]]) -> None:
        self._path = path
        self._identity = f"{SCHEMA_VERSION} {identity}"
        self._axes = {name: place for place, (name, _) in enumerate(axes)}
        self._tiers = [{tier: place for place, tier in enumerate(tiers)} for _, tiers in axes]
        self._lock = threading.Lock()
        self._database = self._open()
        self.generation = self._about("generation")
        self.last_number = self._one("SELECT COALESCE(MAX(number), 0) FROM changes")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def rebuild(self) -> None:
        """Throw everything away, to be read again from the topics."""
        with self._lock:
            self._database.close()
            if self._path is not None:
                _remove(self._path)
            self._database = self._open()
        self.generation = self._about("generation")
        self.last_number = 0

    def positions(self, topic: str) -> dict[int, Position]:
        """Give how far each partition of a topic was read."""
        rows = self._all("SELECT partition, next, last FROM positions WHERE topic = ?", (topic,))
        return {partition: Position(next_offset, last) for partition, next_offset, last in rows}

    def add_changes(self, batch: Batch, records: Iterable[bytes | None]) -> list[StoredChange]:
        """Take in segment changes together with the position after them, in one transaction.

        Parameters
        ----------
        batch
            Where they come from.
        records
            Their values; tombstones are passed over.

        Returns
        -------
        list[StoredChange]
            In their order; a change of an axis or tier that this policy does not have is left out.
        """
        rows, hours, stored = [], [], []
        number = self.last_number
        for record in records:
            if record is None:
                continue
            change = _decode_change(record)
            axis = self._axes.get(change.axis)
            if axis is None or change.to_tier not in self._tiers[axis]:
                continue
            tiers = self._tiers[axis]
            from_tier = NO_TIER if change.from_tier is None else tiers.get(change.from_tier, NO_TIER)
            time_ms, to_tier = parse_time_ms(change.effective_at), tiers[change.to_tier]
            number += 1
            kind = (axis, from_tier, to_tier, change.cause)
            rows.append((number, change.customer_id.encode(), change.sequence, *kind, time_ms, record))
            hours.append((time_ms // HOUR_MS, *kind))
            stored.append(StoredChange(number, time_ms, change.sequence, record))
        with self._writing() as database:
            database.executemany("INSERT INTO changes VALUES (?,?,?,?,?,?,?,?,?)", rows)
            database.executemany(_COUNT_HOUR, hours)
            self._move(database, batch)
        self.last_number = number
        return stored

    def add_quality(self, batch: Batch, records: Iterable[tuple[int, bytes]]) -> None:
        """Take in figures of prequential evaluation, each with its time."""
        with self._writing() as database:
            database.executemany("INSERT INTO quality (time_ms, record) VALUES (?,?)", records)
            self._move(database, batch)

    def keep_knowledge(self, batch: Batch, records: dict[int, bytes], *, oldest: int) -> None:
        """Keep versions of knowledge, and let go of those before the oldest that is still needed."""
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO knowledge VALUES (?,?)", records.items())
            database.execute("DELETE FROM knowledge WHERE version < ?", (oldest,))
            self._move(database, batch)

    def knowledge(self) -> dict[int, bytes]:
        """Give the versions of knowledge that were kept."""
        return dict(self._all("SELECT version, record FROM knowledge ORDER BY version"))

    def quality(self) -> list[bytes]:
        """Give all figures of prequential evaluation, oldest first."""
        return [record for (record,) in self._all("SELECT record FROM quality ORDER BY time_ms, number")]

    def forget_customers(self, customer_ids: Iterable[bytes], last_number: int) -> None:
        """Delete the changes of erased customers up to a number; counts by hour stay, since they name nobody."""
        pairs = [(customer_id, last_number) for customer_id in customer_ids]
        with self._writing() as database:
            database.executemany("DELETE FROM changes WHERE customer = ? AND number <= ?", pairs)
        # Deleted content is overwritten; what the write-ahead file still has of it goes with the file.
        self._all("PRAGMA wal_checkpoint(TRUNCATE)")

    def customers_after(self, customer_id: bytes, limit: int) -> list[bytes]:
        """Give the next customers who have changes, in the order of id bytes."""
        query = "SELECT DISTINCT customer FROM changes WHERE customer > ? ORDER BY customer LIMIT ?"
        return [bytes(found) for (found,) in self._all(query, (customer_id, limit))]

    def changes_of(self, customer_id: bytes, after_sequence: int, limit: int) -> list[StoredChange]:
        """Give a customer's changes after a sequence number, oldest first."""
        query = f"{_SELECT} WHERE customer = ? AND sequence > ? ORDER BY sequence LIMIT ?"
        return [StoredChange(*row) for row in self._all(query, (customer_id, after_sequence, limit))]

    def changes(self, wanted: ChangeFilter, before: tuple[int, int] | None, limit: int) -> list[StoredChange]:
        """Give changes, newest first.

        Parameters
        ----------
        wanted
            Which ones.
        before
            Time and number of the last change of the page before.
        limit
            Most changes.
        """
        conditions, values = _conditions(wanted)
        if before is not None:
            conditions.append("(time_ms, number) < (?, ?)")
            values += before
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        where = f"INDEXED BY {_index_for(wanted)} {where}"
        query = f"{_SELECT} {where} ORDER BY time_ms DESC, number DESC LIMIT ?"
        return [StoredChange(*row) for row in self._all(query, (*values, limit))]

    def changes_after(self, number: int, limit: int) -> list[StoredChange]:
        """Give changes in the order in which they came, after one of them."""
        query = f"{_SELECT} WHERE number > ? ORDER BY number LIMIT ?"
        return [StoredChange(*row) for row in self._all(query, (number, limit))]

    def hour_span(self) -> tuple[int, int] | None:
        """Give the first hour with changes and the hour after the last; None before there is any."""
        ((first, last),) = self._all("SELECT MIN(hour), MAX(hour) FROM hours")
        return None if first is None else (first, last + 1)

    def hour_counts(
        self, axis: int | None, since_hour: int | None, until_hour: int | None, step: int
    ) -> list[HourCount]:
        """Give how many changes there were, by steps of so many hours; `since_hour <= hour < until_hour`."""
        wanted = [("axis = ?", axis), ("hour >= ?", since_hour), ("hour < ?", until_hour)]
        conditions = [condition for condition, value in wanted if value is not None]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        step_hour = f"hour / {step} * {step}"
        query = (
            f"SELECT {step_hour}, axis, from_tier, to_tier, cause, SUM(changes) FROM hours {where} "
            f"GROUP BY {step_hour}, axis, from_tier, to_tier, cause ORDER BY 1"
        )
        return [HourCount(*row) for row in self._all(query, [value for _, value in wanted if value is not None])]

    def change_count(self) -> int:
        """Give the number of changes."""
        return self._one("SELECT COALESCE(SUM(changes), 0) FROM hours")

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _one(self, query: str) -> int:
        (row,) = self._all(query)
        return int(row[0])

    def _about(self, name: str) -> str:
        with self._lock:
            (row,) = self._database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchall()
        return str(row[0])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # A full disk has already undone the transaction.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _move(self, database: sqlite3.Connection, batch: Batch) -> None:
        place = (batch.topic, batch.partition, batch.next_offset, batch.last)
        database.execute("INSERT OR REPLACE INTO positions VALUES (?,?,?,?)", place)

    def _open(self) -> sqlite3.Connection:
        """Open the file; one that is damaged or of something else is made anew, since the topics hold everything."""
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                known = self._open_known(self._path)
                if known is not None:
                    return known
                _remove(self._path)
            database = _connect(self._path)
            about = [("identity", self._identity), ("generation", secrets.token_hex(4))]
            database.executescript(f"BEGIN; {_TABLES}")
            database.executemany("INSERT INTO about VALUES (?,?)", about)
            database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"--history: {self._path} cannot be used ({reason}); name a file in a folder that can be written"
            raise SettingsError(message, code="unusable_history") from error
        return database

    def _open_known(self, path: Path) -> sqlite3.Connection | None:
        """Open a file that is there, if it is a history of this."""
        if not path.exists():
            return None
        database = None
        try:
            database = _connect(path)
            if database.execute("SELECT value FROM about WHERE name = 'identity'").fetchall() == [(self._identity,)]:
                return database
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                message = f"--history: {path} is in use by another server; stop that one, or name another file"
                raise SettingsError(message, code="history_in_use") from error
            if "no such table" not in str(error):
                raise
        except sqlite3.DatabaseError:
            # Damaged, or no database at all: it is made anew.
            pass
        if database is not None:
            database.close()
        return None


def _index_for(wanted: ChangeFilter) -> str:
    """Choose the index that leads to what may be rare; the planner, which knows no counts, would scan by time."""
    if wanted.cause is not None:
        return "changes_by_cause"
    if wanted.axis is not None and wanted.from_tier is not None and wanted.to_tier is not None:
        return "changes_by_tiers"
    return "changes_by_time"


def _conditions(wanted: ChangeFilter) -> tuple[list[str], list[object]]:
    pairs: list[tuple[str, object]] = [
        ("axis = ?", wanted.axis),
        ("from_tier = ?", wanted.from_tier),
        ("to_tier = ?", wanted.to_tier),
        ("cause = ?", wanted.cause),
        ("time_ms >= ?", wanted.since_ms),
        ("time_ms < ?", wanted.until_ms),
    ]
    chosen = [(condition, value) for condition, value in pairs if value is not None]
    return [condition for condition, _ in chosen], [value for _, value in chosen]


def _connect(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(path or ":memory:", timeout=1.0, check_same_thread=False, isolation_level=None)
    # One server a file: two would give different changes the same number.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    # What a crash of the machine takes is read from the topics again: positions are in the same transactions.
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    database.execute("PRAGMA secure_delete = ON")
    return database


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
