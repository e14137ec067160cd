"""The customer table: one fixed-width row a customer, moved in blocks of opaque bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import ID_BYTES_MAX
from stream_app.domain.id_index import KEY_BYTES, IdIndex, keys_of
from stream_app.domain.identifiers import hash_ids, turns_of
from stream_app.domain.memory import reserve
from stream_app.domain.rows import ERASED_TURN, RowBlock, is_erased, make_blank
from stream_app.domain.turns import TurnOrder

ROWS_MAX = 1 << 26
"""Address space is reserved for so many customers a table (67 million)."""


class CustomerTable:
    """All that is remembered of the customers of a shard.

    Only the engine that owns it changes it. Rows are never moved or copied when the table grows.

    Parameters
    ----------
    dtype
        `rows.row_dtype(...)`.
    sweep_period_minutes
        Period of the sweeps that `turns` answers for.
    rows_max
        Most customers that the table can hold.
    """

    def __init__(self, dtype: np.dtype[np.void], sweep_period_minutes: int, rows_max: int = ROWS_MAX) -> None:
        self._dtype = dtype
        self._bytes = reserve(rows_max, np.dtype(f"V{dtype.itemsize}"))
        self._keys = reserve(rows_max, np.dtype(f"S{KEY_BYTES}")).view(f"S{KEY_BYTES}")
        self._long_ids: dict[int, bytes] = {}
        self._index = IdIndex(self._keys)
        self._count = 0
        self._erased_count = 0
        self.turns = TurnOrder(sweep_period_minutes)

    def __len__(self) -> int:
        """Give the number of rows, those of erased customers included."""
        return self._count

    @property
    def customer_count(self) -> int:
        """Customers who are not erased."""
        return self._count - self._erased_count

    @property
    def rows(self) -> RowBlock:
        """Shape `(len(self),)`: a view of the rows themselves, in the order in which customers were first seen."""
        return self._bytes[: self._count].view(self._dtype)

    @property
    def ids(self) -> NDArray[np.bytes_]:
        """Shape `(len(self),)`, dtype `S<width>`: customer ids, in the order of the rows; empty for erased ones."""
        return self.ids_of(np.arange(self._count))

    @property
    def id_bytes_max(self) -> int:
        """No id is longer than this, in bytes."""
        return ID_BYTES_MAX if self._long_ids else KEY_BYTES

    @property
    def index_byte_count(self) -> int:
        """Memory of the index without ids and rows, in bytes."""
        return self._index.byte_count + self.turns.byte_count

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.bytes_]:
        """Give the customer ids of some rows; shape `(n,)`, dtype `S<width>`, as wide as needed."""
        keys: NDArray[np.bytes_] = np.take(self._keys[: self._count], rows)
        if not self._long_ids:
            return keys
        long_places = [(place, self._long_ids[row]) for place, row in enumerate(rows.tolist()) if row in self._long_ids]
        if not long_places:
            return keys
        ids = keys.astype(f"S{max(len(customer_id) for _, customer_id in long_places)}")
        for place, customer_id in long_places:
            ids[place] = customer_id
        return ids

    def find(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Look customers up without adding any; shape `(n,)`, -1 where a customer is unknown."""
        keys = keys_of(ids)
        return self._index.find(keys, hash_ids(keys))

    def find_or_add(self, ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Look customers up and give unknown ones a new row, in the order of their first appearance.

        Parameters
        ----------
        ids
            Shape `(n,)`, dtype `S<width>`.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`: row numbers.

        Raises
        ------
        MemoryError
            When the table is full.
        """
        keys = keys_of(ids)
        hashes = hash_ids(keys)
        rows = self._index.find(keys, hashes)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            firsts, inverse = _distinct(keys[missing], hashes[missing])
            new_rows = np.arange(self._count, self._count + len(firsts))
            self._add(ids[missing[firsts]], keys[missing[firsts]], hashes[missing[firsts]])
            rows[missing] = new_rows[inverse]
        return rows

    def turns_of(self, ids: NDArray[np.bytes_]) -> NDArray[np.uint16]:
        """Give the turns of customers, known or not; shape `(n,)`, of the 28-day cycle or of the sweep's period."""
        rows = self.find(ids)
        turns = self.turns.of_rows(rows)
        unknown = np.flatnonzero(rows < 0)
        turns[unknown] = turns_of(ids[unknown])
        return turns

    def gather(self, rows: NDArray[np.int64]) -> RowBlock:
        """Copy rows into a block; shape `(n,)`."""
        block: RowBlock = np.take(self._bytes[: self._count], rows).view(self._dtype)
        return block

    def scatter(self, rows: NDArray[np.int64], block: RowBlock) -> None:
        """Put a block's rows back; `rows` holds each row at most once."""
        self._bytes[rows] = block.view(self._bytes.dtype)

    def live_rows(self) -> NDArray[np.int64]:
        """Give the numbers of all rows that are not of erased customers, rising; shape `(customer_count,)`."""
        return self.turns.all_rows()

    def is_erased(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of these rows are of erased customers; shape `(n,)`."""
        if not self._erased_count:
            return np.zeros(len(rows), dtype=np.bool_)
        result: NDArray[np.bool_] = self.rows["turn"][rows] == ERASED_TURN
        return result

    def erase(self, rows: NDArray[np.int64]) -> None:
        """Forget customers: their rows are blank and marked, and nobody has them any more.

        Parameters
        ----------
        rows
            Shape `(n,)`: rows of customers who are not erased, each once.
        """
        block = self.gather(rows)
        make_blank(block)
        block["turn"] = ERASED_TURN
        self.scatter(rows, block)
        self._keys[rows] = b""
        for row in rows.tolist():
            self._long_ids.pop(row, None)
        self.turns.erase(rows)
        self._erased_count += len(rows)

    def restore(self, ids: NDArray[np.bytes_], rows: RowBlock) -> None:
        """Fill an empty table with stored customers.

        Parameters
        ----------
        ids
            Shape `(n,)`, all different, but for those of erased rows, which are empty.
        rows
            Shape `(n,)`, in the same order.
        """
        self._require_room(len(ids))
        self._count = len(ids)
        self._erased_count = int(np.count_nonzero(is_erased(rows)))
        self._bytes[: len(ids)] = rows.view(self._bytes.dtype)
        self._keys[: len(ids)] = keys_of(ids)
        self._remember_long_ids(ids, 0)
        self._index.rebuild(len(ids))
        self.turns.append(np.ascontiguousarray(rows["turn"]))

    def _add(self, ids: NDArray[np.bytes_], keys: NDArray[np.bytes_], hashes: NDArray[np.uint64]) -> None:
        start, end = self._count, self._count + len(ids)
        self._require_room(end)
        self._keys[start:end] = keys
        self._remember_long_ids(ids, start)
        turns = turns_of(ids)
        self._count = end
        fresh = self.rows[start:end]
        make_blank(fresh)
        fresh["turn"] = turns
        self._index.insert(hashes, np.arange(start, end))
        self.turns.append(turns)

    def _require_room(self, row_count: int) -> None:
        if row_count > len(self._bytes):
            message = f"the table is full: {len(self._bytes)} customers; spread the customers over more partitions"
            raise MemoryError(message)

    def _remember_long_ids(self, ids: NDArray[np.bytes_], first_row: int) -> None:
        if ids.dtype.itemsize > KEY_BYTES:
            for place in np.flatnonzero(np.char.str_len(ids) > KEY_BYTES).tolist():
                self._long_ids[first_row + place] = bytes(ids[place])


def _distinct(keys: NDArray[np.bytes_], hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the first place of each different key, in order of appearance, and which of these each key is."""
    _, firsts, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    if not np.array_equal(keys[firsts][inverse], keys):
        # Two new ids with one 64-bit hash: compare the keys themselves.
        _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
    by_appearance = np.argsort(firsts)
    rank = np.empty_like(by_appearance)
    rank[by_appearance] = np.arange(len(by_appearance))
    return firsts[by_appearance], rank[inverse]
