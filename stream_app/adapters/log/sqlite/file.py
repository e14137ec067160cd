"""The file of an embedded log: its layout and version, connections to it, and what its faults mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from stream_app.adapters.log.errors import LogError, UnusableLogError
from stream_app.adapters.log.urls import SqliteUrl
from stream_app.domain.errors import IncompatibleStateError, SettingsError

APPLICATION_ID: Final = 0x53414C47
"""Stands in the header of the file ("SALG"), so that another database is not taken for a log."""
FORMAT_VERSION: Final = 1
BUSY_WAIT_MAX_S: Final = 30.0
"""So long a process waits for the others' turns at writing; theirs take milliseconds."""
BUSY_POLL_S: Final = 0.001
"""SQLite's own handler sleeps up to 100 ms between tries, and starves behind a busy producer."""
_WAL_KEPT_BYTES: Final = 16 << 20
"""The write-ahead log is cut to this size when it begins anew."""
_CACHE_KIB: Final = 16_384

OFFSET_BITS: Final = 44
"""A batch is found by `partition id << 44 | first offset`: 17 trillion offsets, half a million partitions."""

# Tables are not STRICT, and nothing is RETURNING: systems of long support have an older SQLite.
_SCHEMA: Final = """
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    is_compacted INTEGER NOT NULL,
    retention_ms INTEGER
);
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    number INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0,
    end_offset INTEGER NOT NULL DEFAULT 0,
    compacted_offset INTEGER NOT NULL DEFAULT 0,
    compacted_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    last_offset INTEGER NOT NULL,
    appended_ms INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE positions (
    group_name TEXT NOT NULL,
    partition_id INTEGER NOT NULL REFERENCES partitions (id),
    position INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition_id)
) WITHOUT ROWID;
CREATE TABLE writers (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
"""


def create_file(path: Path) -> None:
    """Make an empty log unless there is one; several processes may do so at once.

    Parameters
    ----------
    path
        Its folder must exist.

    Raises
    ------
    SettingsError
        When it cannot be made, or something else is there.
    IncompatibleStateError
        When a log of another version is there.
    """
    if not path.parent.is_dir():
        message = f"log {path} cannot be made: there is no folder {path.parent}; make it, or name another one"
        raise SettingsError(message, code="unusable_log")
    with starting(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_WAIT_MAX_S)
        try:
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                _lay_out(connection)
            _require_log(path, connection)
        finally:
            connection.close()


def _lay_out(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_file(path: Path, *, is_writing: bool) -> sqlite3.Connection:
    """Connect to a log that is there; the connection may be handed from thread to thread.

    Parameters
    ----------
    path
        The log.
    is_writing
        Whether it is for use by `writing`, which waits for its turn in its own way.

    Raises
    ------
    SettingsError
        When there is none, or it cannot be used.
    IncompatibleStateError
        When it is of another version.
    """
    if not path.exists():
        message = f"log {path} does not exist; make it by: stream-app topics create --log {SqliteUrl(path)}"
        raise SettingsError(message, code="missing_log")
    with starting(path):
        if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
            # Readers write, too: they note in a file beside it up to where they read.
            message = f"log {path} cannot be used: {_READ_ONLY}"
            raise SettingsError(message, code="unusable_log")
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_WAIT_MAX_S,
            cached_statements=64,
        )
        try:
            _require_log(path, connection)
            for setting in (
                "synchronous = FULL",
                "wal_autocheckpoint = 0",
                f"journal_size_limit = {_WAL_KEPT_BYTES}",
                f"cache_size = -{_CACHE_KIB}",
                "temp_store = MEMORY",
                "secure_delete = FAST",
                *(["busy_timeout = 0"] if is_writing else []),
            ):
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection


def _require_log(path: Path, connection: sqlite3.Connection) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        message = f"log {path} cannot be used: it is another kind of database; name another file"
        raise SettingsError(message, code="unusable_log")
    if version != FORMAT_VERSION:
        message = (
            f"log {path} has format version {version}, this software has {FORMAT_VERSION}; use the version of the "
            "software that made it, or name a new file and produce the events into it again"
        )
        raise IncompatibleStateError(message, code="incompatible_log")
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        message = (
            f"log {path} cannot be used: it lies where SQLite has no write-ahead log (journal mode {mode}); "
            "move it to a local disk"
        )
        raise SettingsError(message, code="unusable_log")


_READ_ONLY: Final = "it or its folder is read-only; give this user the right to write there, or name another place"
_ACTIONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free space and start again",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and that this user may write there",
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_NOTADB: "it is no SQLite file, or its beginning is damaged; name another file, or restore a copy",
    sqlite3.SQLITE_CORRUPT: "a page of it is damaged; restore a copy, or name a new file and produce the events again",
    sqlite3.SQLITE_BUSY: (
        f"another process has been writing to it for more than {BUSY_WAIT_MAX_S:.0f} s; "
        "end that process and start again"
    ),
    sqlite3.SQLITE_IOERR: "reading or writing failed; check the disk (is it full?) and start again",
}

_FOR_A_PERSON: Final = _ACTIONS.keys() - {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR}
"""Faults that trying again does not mend."""


def explain(path: Path, error: sqlite3.Error) -> str:
    """Say in one line what a fault of SQLite means and what to do.

    Parameters
    ----------
    path
        The log.
    error
        What SQLite raised.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    action = _ACTIONS.get(code & 0xFF, "this is not expected; keep a copy of the file and report it")
    return f"log {path} cannot be used: {action} ({name}: {error})"


@contextmanager
def starting(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a log is opened into an error of settings."""
    try:
        yield
    except sqlite3.Error as error:
        raise SettingsError(explain(path, error), code="unusable_log") from error
    except OSError as error:
        message = f"log {path} cannot be used: {error.strerror}; check its folder and who may write there"
        raise SettingsError(message, code="unusable_log") from error


@contextmanager
def running(path: Path) -> Iterator[None]:
    """Turn what goes wrong with an open log into an error of the log."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        kind = UnusableLogError if code in _FOR_A_PERSON else LogError
        raise kind(explain(path, error)) from error


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Write in one transaction: all of it or, after any error, nothing.

    The turn is waited for in short steps, so that a process that writes all the time does not keep others from it.
    """
    deadline = time.monotonic() + BUSY_WAIT_MAX_S
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_POLL_S)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk or a failed write SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
