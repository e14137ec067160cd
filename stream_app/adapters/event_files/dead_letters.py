"""Refused rows as JSON Lines, in a file that appears only when the reading has come to its end."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from stream_app.adapters.codec.dead_letters import encode_dead_letter
from stream_app.adapters.event_files.rows import RefusedRow
from stream_app.adapters.whole_files import unfinished_name
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
        self._partial_path = None if path is None else unfinished_name(path)
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
            for row in rows:
                source = {"file": file_name, "row": first_row + row.index}
                letter = encode_dead_letter(
                    row.raw, code=row.code, message=row.message, source=source, is_cut=row.is_cut
                )
                self.write_letter(letter)

    def write_letter(self, letter: bytes) -> None:
        """Append a dead letter that is written already, without its line end."""
        if self._stream is not None:
            self._stream.write(letter + b"\n")

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
