"""The learner's state on `<app>-learner-state`: cut into records, and put together again."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stream_app.adapters.log.topics import RECORD_BYTES_MAX
from stream_app.domain.errors import IncompatibleStateError

_PART_BYTES = RECORD_BYTES_MAX - 1_000
FORMAT_VERSION = 1


class _Part(msgspec.Struct, array_like=True):
    format_version: int
    position: int
    part: int
    part_count: int
    checksum: int
    content: bytes


@dataclass(frozen=True, slots=True)
class SavedLearner:
    """A state, and how much of the learner's input is in it.

    Parameters
    ----------
    position
        Offset in `<app>-learner-input` to go on from.
    offset
        Of its first record; -1 before it was written.
    state
        As `LearnerMachine.state` gave it.
    """

    position: int
    offset: int
    state: bytes


def encode_learner(saved: SavedLearner) -> list[bytes]:
    """Cut a state into records that every broker takes."""
    packed = zlib.compress(saved.state, 1)
    pieces = [packed[start : start + _PART_BYTES] for start in range(0, len(packed), _PART_BYTES)]
    checksum = zlib.crc32(packed)
    return [
        msgspec.msgpack.encode(_Part(FORMAT_VERSION, saved.position, number, len(pieces), checksum, piece))
        for number, piece in enumerate(pieces)
    ]


class LearnerReader:
    """Puts the last whole state together from its records."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._offset = -1
        self.saved: SavedLearner | None = None

    def add(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Take in offsets and values, in order.

        Raises
        ------
        IncompatibleStateError
            When a record cannot be read or is of another version.
        """
        for offset, value in records:
            try:
                part = msgspec.msgpack.decode(value, type=_Part)
            except msgspec.MsgspecError as error:
                raise _damaged(offset, str(error)) from error
            if part.format_version != FORMAT_VERSION:
                raise _damaged(offset, f"format version {part.format_version}, this software reads {FORMAT_VERSION}")
            if part.part == 0:
                self._pieces, self._offset = [], offset
            if part.part != len(self._pieces) or self._offset < 0:
                # The beginning of the oldest state was truncated; a later one is whole.
                self._pieces, self._offset = [], -1
                continue
            self._pieces.append(part.content)
            if len(self._pieces) == part.part_count:
                self._finish(part)

    def _finish(self, part: _Part) -> None:
        packed = b"".join(self._pieces)
        if zlib.crc32(packed) != part.checksum:
            raise _damaged(self._offset, "the checksum is wrong")
        self.saved = SavedLearner(part.position, self._offset, zlib.decompress(packed))
        self._pieces, self._offset = [], -1


def _damaged(offset: int, what: str) -> IncompatibleStateError:
    message = f"offset {offset} of the learner's state cannot be read ({what}): restore the topic from a copy"
    return IncompatibleStateError(message, code="damaged_learner_state")
