"""Refused rows as JSON Lines, in a file that appears only when the reading has come to its end."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson

from stream_app.adapters.event_files.rows import RefusedRow
from stream_app.domain.errors import SettingsError


class DeadLetterFile:
    """Writes dead letters.

    Parameters
    ----------
    path
        Where they go; None: nowhere.

    Raises
    ------
    SettingsError
        Code `unwritable_output`.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._partial_path = None if path is None else path.with_name(path.name + ".partial")
        self._stream: BinaryIO | None = None
        if self._partial_path is not None:
            try:
                self._partial_path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._partial_path.open("wb")
            except OSError as error:
                message = f"{path}: dead letters cannot be written ({error.strerror or error}); choose another folder"
                raise SettingsError(message, code="unwritable_output") from error

    def write(self, file_name: str, first_row: int, rows: Iterable[RefusedRow]) -> None:
        """Append the refused rows of a chunk."""
        if self._stream is not None:
            self._stream.writelines(_letter(file_name, first_row + row.index, row) for row in rows)

    def finish(self) -> None:
        """Put the file in its place."""
        if self._stream is not None and self._partial_path is not None and self._path is not None:
            self._stream.close()
            os.replace(self._partial_path, self._path)
            self._stream = None

    def discard(self) -> None:
        """Leave nothing behind; does nothing after `finish`."""
        if self._stream is not None and self._partial_path is not None:
            self._stream.close()
            self._partial_path.unlink(missing_ok=True)
            self._stream = None


def _letter(file_name: str, row_number: int, row: RefusedRow) -> bytes:
    letter: dict[str, object] = {"reason": row.code.value, "message": row.message}
    try:
        letter["raw"] = row.raw.decode()
    except UnicodeDecodeError:
        letter["raw_base64"] = base64.b64encode(row.raw).decode()
    letter["source"] = {"file": file_name, "row": row_number}
    return orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE)
