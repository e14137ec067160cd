"""The way from customer ids to table rows: a hash index searched for a whole batch at once."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.identifiers import hash_ids

KEY_BYTES = 40
"""Width of a key; ids up to this length (a UUID has 36) are their own key."""
_LONG_KEY_MARK = b"\xff"
"""First byte of the key of a longer id: never part of UTF-8, so no id can be taken for such a key."""
_ROW_BITS = np.uint64(32)
_ROW_MASK = np.uint64(0xFFFFFFFF)
_EMPTY, _ONE = np.uint64(0), np.uint64(1)
_SLOTS_MIN = 1 << 12
SLOTS_PER_KEY = 4
"""At least so many slots a key: with 2, a batch of 1,000 took half as long again to find, for 16 bytes a key less."""


def keys_of(ids: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Give every id a key of fixed width that no other id has.

    Parameters
    ----------
    ids
        Shape `(n,)`, dtype `S<width>`.

    Returns
    -------
    NDArray[np.bytes_]
        Shape `(n,)`, dtype `S40`: the id, or a mark and blake2b-312 of an id that is longer.
    """
    keys = ids.astype(f"S{KEY_BYTES}")
    if ids.dtype.itemsize > KEY_BYTES:
        for place in np.flatnonzero(np.char.str_len(ids) > KEY_BYTES).tolist():
            digest = blake2b(bytes(ids[place]), digest_size=KEY_BYTES - 1).digest()
            keys[place] = _LONG_KEY_MARK + digest
    return keys


class IdIndex:
    """An open-addressing hash table from keys to row numbers.

    A slot holds the upper half of the key's hash and the row number plus one, in 64 bits; a match is verified against
    the stored key, so two ids never share a row. Only the table that owns the index changes it. When the owner empties
    the key of a row, nothing is the same as that key any more: the slot stays as a tombstone until the next rebuild.

    Parameters
    ----------
    keys
        Shape `(capacity,)`, dtype `S40`: the key of each row, kept by the owner.
    """

    def __init__(self, keys: NDArray[np.bytes_]) -> None:
        self._keys = keys
        self._slots = np.zeros(_SLOTS_MIN, dtype=np.uint64)
        self._count = 0
        self._row_count = 0

    @property
    def byte_count(self) -> int:
        """Memory in use, in bytes."""
        return self._slots.nbytes

    def find(self, keys: NDArray[np.bytes_], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Look rows up.

        Parameters
        ----------
        keys
            Shape `(n,)`, dtype `S40`.
        hashes
            Shape `(n,)`: `hash_ids(keys)`.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`: row numbers, -1 where the key is unknown.
        """
        return _find_each(self._slots, _words_of(self._keys), _words_of(keys), hashes)

    def insert(self, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        """Enter rows whose keys are known to be new and different; the owner has stored their keys.

        Parameters
        ----------
        hashes
            Shape `(n,)`.
        rows
            Shape `(n,)`, rising, above all rows so far and below 2**32 - 1.
        """
        if not len(rows):
            return
        self._count += len(rows)
        self._row_count = int(rows[-1]) + 1
        if SLOTS_PER_KEY * self._count > len(self._slots):
            self.rebuild(self._row_count)
        else:
            self._place(hashes, rows)

    def rebuild(self, row_count: int) -> None:
        """Enter anew the rows 0 to `row_count - 1` that have a key, with room for twice as many at least."""
        self._row_count = row_count
        step = 1 << 16
        parts = [np.arange(start, min(start + step, row_count)) for start in range(0, row_count, step)]
        parts = [rows[self._keys[rows] != b""] for rows in parts]
        self._count = sum(map(len, parts))
        self._slots = np.zeros(max(_SLOTS_MIN, 1 << int(SLOTS_PER_KEY * self._count).bit_length()), dtype=np.uint64)
        for rows in parts:
            self._place(hash_ids(self._keys[rows]), rows)

    def _place(self, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        _place_each(self._slots, hashes, rows)


def _words_of(keys: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """See keys as words, shape `(n, KEY_BYTES / 8)`."""
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(len(keys), KEY_BYTES // 8)
    return words if words.flags.writeable else words.copy()


@compiled
def _find_each(
    slots: NDArray[np.uint64], stored: NDArray[np.uint64], keys: NDArray[np.uint64], hashes: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Look rows up; see `IdIndex.find`."""
    mask = np.uint64(len(slots) - 1)
    found = np.full(len(keys), -1, np.int64)
    for place in range(len(keys)):
        at = hashes[place] & mask
        while slots[at] != _EMPTY:
            if slots[at] >> _ROW_BITS == hashes[place] >> _ROW_BITS:
                row = np.int64(slots[at] & _ROW_MASK) - 1
                if _is_same(stored[row], keys[place]):
                    found[place] = row
                    break
            at = (at + _ONE) & mask
    return found


@compiled
def _is_same(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> bool:
    """Compare two keys."""
    for place in range(len(one)):  # noqa: SIM110 (generators are not compiled)
        if one[place] != other[place]:
            return False
    return True


@compiled
def _place_each(slots: NDArray[np.uint64], hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
    """Enter rows into the next free slots."""
    mask = np.uint64(len(slots) - 1)
    for place in range(len(rows)):
        at = hashes[place] & mask
        while slots[at] != _EMPTY:
            at = (at + _ONE) & mask
        slots[at] = (hashes[place] >> _ROW_BITS << _ROW_BITS) | (np.uint64(rows[place]) + _ONE)
