"""Which files a log consists of, and what kind each of them is."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

from stream_app.domain.errors import SettingsError

FILES_MAX = 1 << 20
"""Most files of one log: positions keep the file's number in 22 bits."""

_MAGIC_NUMBERS = {
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "Zstandard data",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"ARROW1": "an Arrow file",
}


class FileFormat(Enum):
    """How rows stand in a file."""

    DELIMITED = "delimited"
    JSON_LINES = "json_lines"
    PARQUET = "parquet"


_FORMATS = {
    ".csv": FileFormat.DELIMITED,
    ".tsv": FileFormat.DELIMITED,
    ".txt": FileFormat.DELIMITED,
    ".jsonl": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".parquet": FileFormat.PARQUET,
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_ALLOWED = ".csv, .tsv, .txt, .jsonl or .ndjson (also with .gz or .zst), or .parquet"


@dataclass(frozen=True, slots=True)
class EventFile:
    """One file of a log.

    Parameters
    ----------
    ordinal
        Its number in the log, from 0.
    path
        Where it lies.
    name
        What it is called in ids and dead letters: its base name, or its path when two files share that.
    format
        How rows stand in it.
    compression
        `gzip`, `zstd` or None.
    size_bytes
        As it lies on disk.
    """

    ordinal: int
    path: Path
    name: str
    format: FileFormat
    compression: str | None
    size_bytes: int


def find_files(patterns: Sequence[str]) -> tuple[EventFile, ...]:
    """Find the files that the patterns name.

    Parameters
    ----------
    patterns
        Paths or globs (`**` crosses folders), in the order in which they are read; what one glob finds is sorted by
        name. A file that is found twice is read once.

    Returns
    -------
    tuple[EventFile, ...]
        At least one.

    Raises
    ------
    SettingsError
        Code `unreadable_event_file`; all faults are listed.
    """
    faults: list[str] = []
    paths: dict[str, Path] = {}
    for pattern in patterns:
        found = _expand(pattern)
        if not found:
            is_glob = glob.has_magic(pattern)
            missing = "no file matches" if is_glob else "no such file"
            faults.append(
                f"{pattern}: {missing}; check the path" + ("" if is_glob else ", or quote a glob as 'logs/*.csv'")
            )
        for path in found:
            paths.setdefault(os.path.realpath(path), path)
    if not patterns:
        faults.append("no event file is given; name at least one, as events.csv")
    if len(paths) > FILES_MAX:
        faults.append(f"{len(paths)} files match, at most {FILES_MAX} can be read; merge some")
    uses = Counter(path.name for path in paths.values())
    files: list[EventFile] = []
    for path in paths.values():
        name = path.name if uses[path.name] == 1 else path.as_posix()
        try:
            files.append(_describe(path, name, len(files)))
        except SettingsError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise SettingsError(faults[0], code="unreadable_event_file")
    if faults:
        message = f"{len(faults)} faults in the event files; mend them and run again"
        raise SettingsError(message, code="unreadable_event_file", faults=tuple(faults))
    return tuple(files)


def _expand(pattern: str) -> list[Path]:
    # A name may hold glob characters, as events[1].csv: an existing path is taken as it is.
    try:
        if os.path.lexists(pattern):
            return [Path(pattern)]
        return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    except ValueError:  # A NUL character in the name.
        return []


def _describe(path: Path, name: str, ordinal: int) -> EventFile:
    if path.is_dir():
        _fail(path, f"is a directory; name its files, as '{path.as_posix()}/*.csv'")
    if path.exists() and not path.is_file():
        _fail(path, "is no regular file; write its rows to a file first")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    kind = suffixes[-2:-1] if compression else suffixes[-1:]
    file_format = _FORMATS.get(kind[0]) if kind else None
    if file_format is None:
        _fail(path, f"is of a kind that cannot be read; its name must end with {_ALLOWED}")
    if file_format is FileFormat.PARQUET and compression:
        _fail(path, "is a compressed Parquet file; unpack it, Parquet compresses its columns itself")
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        _fail(path, f"cannot be read ({error.strerror or error}); check the path and its permissions")
    if not size_bytes:
        _fail(path, "is empty, there is nothing to read; leave it out")
    _check_magic(path, head, compression, file_format)
    return EventFile(ordinal, path, name, file_format, compression, size_bytes)


def _check_magic(path: Path, head: bytes, compression: str | None, file_format: FileFormat) -> None:
    expected = {"gzip": "gzip data", "zstd": "Zstandard data"}.get(compression or "")
    if file_format is FileFormat.PARQUET:
        expected = "Parquet"
    actual = next((what for magic, what in _MAGIC_NUMBERS.items() if head.startswith(magic)), None)
    if actual == expected:
        return
    if expected is None:
        _fail(path, f"holds {actual}; give it the ending that says so ({_ALLOWED}), or export it as CSV")
    _fail(path, f"does not hold {expected} as its name says; check the file, or give it the right ending ({_ALLOWED})")


def _fail(path: Path, fault: str) -> NoReturn:
    message = f"{path}: {fault}"
    raise SettingsError(message, code="unreadable_event_file")
