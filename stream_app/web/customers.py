"""Customers of all partitions as columns, kept by what the state log says of them."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.state_records import StateRecord
from stream_app.domain.id_index import KEY_BYTES, IdIndex, keys_of
from stream_app.domain.identifiers import hash_ids
from stream_app.domain.memory import reserve
from stream_app.domain.policy import Policy
from stream_app.domain.population import BUCKET_COUNT
from stream_app.domain.rating import rated, states_of
from stream_app.domain.rows import NOT_HELD, PROSPECT, RowBlock, row_dtype
from stream_app.domain.table import ROWS_MAX

UNKNOWN = -1
"""Place of a customer who is not there."""
NOBODY = -1
"""Segment code of a place that holds no customer."""
_STATE_OFFSET = -PROSPECT
_NAMELESS_MARK = b"\xfe"
"""First byte of the key of a place without a name: never part of UTF-8, so no id finds it."""


class SegmentCodes:
    """Segments as numbers, for policies with any number of axes.

    Parameters
    ----------
    policy
        Says which axes and tiers there are.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        sizes = [len(axis.tiers) + _STATE_OFFSET for axis in policy.axes]
        self._radices = np.cumprod([1, *sizes[:-1]], dtype=np.int64)
        self._sizes = sizes
        self._names = [tuple(self._state_names(place)) for place in range(len(sizes))]

    def _state_names(self, axis: int) -> list[str]:
        tiers = len(self._policy.axes[axis].tiers)
        lowest = [PROSPECT] * len(self._policy.axes)
        names = []
        for state in range(PROSPECT, tiers):
            states = lowest.copy()
            states[axis] = state
            names.append(self._policy.name_segment(states)[axis])
        return names

    def names_of_axis(self, axis: int) -> tuple[str, ...]:
        """Give all that can be held on an axis: prospect, unrated, then the tiers from low to high."""
        return self._names[axis]

    def of_states(self, states: NDArray[np.int8]) -> NDArray[np.int64]:
        """Give the codes of states of shape `(n, n_axes)`; shape `(n,)`."""
        result: NDArray[np.int64] = ((states.astype(np.int64) + _STATE_OFFSET) * self._radices).sum(axis=1)
        return result

    def of_names(self, segment: tuple[str, ...]) -> int:
        """Give the code of a segment.

        Raises
        ------
        ValueError
            When it names something that an axis does not have.
        """
        places = [names.index(name) for names, name in zip(self._names, segment, strict=True)]
        return int((np.array(places, dtype=np.int64) * self._radices).sum())

    def name(self, code: int) -> tuple[str, ...]:
        """Give what is held on each axis."""
        return tuple(
            names[code // int(radix) % size]
            for names, radix, size in zip(self._names, self._radices, self._sizes, strict=True)
        )

    def rated_segments(self) -> list[tuple[str, ...]]:
        """Give all combinations of tiers, each axis from low to high."""
        return list(product(*(axis.tiers for axis in self._policy.axes)))


class CustomerColumns:
    """All customers that the state log knows, at places in the order in which they were first seen.

    Lookups, pages and counts read columns of their own, so that none of them has to visit whole rows. Memory is about
    510 bytes a customer, index included.

    Parameters
    ----------
    policy
        Lays out rows and names segments.
    rows_max
        Most customers.
    """

    def __init__(self, policy: Policy, rows_max: int = ROWS_MAX) -> None:
        self._dtype = row_dtype(len(policy.axes), policy.horizon_periods)
        self._rates_everyone = policy.rates_everyone
        self.codes = SegmentCodes(policy)
        self._bytes = reserve(rows_max, np.dtype(f"V{self._dtype.itemsize}"))
        rows_max = len(self._bytes)
        self._keys = reserve(rows_max, np.dtype(f"S{KEY_BYTES}")).view(f"S{KEY_BYTES}")
        self._hashes = reserve(rows_max, np.dtype("V8")).view(np.uint64)
        self._segments = reserve(rows_max, np.dtype("V8")).view(np.int64)
        self._scores = [reserve(rows_max, np.dtype("V8")).view(np.float64) for _ in policy.axes]
        self._partitions = reserve(rows_max, np.dtype("V4")).view(np.int32)
        self._long_ids: dict[int, bytes] = {}
        self._index: IdIndex | None = None
        self._indexed_count = 0
        self._count = 0
        self._places: dict[int, NDArray[np.int64]] = {}
        self.populations: dict[int, int] = {}
        self.histograms = np.zeros((len(policy.axes), BUCKET_COUNT), dtype=np.int64)

    def __len__(self) -> int:
        """Give the number of customers."""
        return sum(self.populations.values())

    def find(self, customer_id: bytes) -> int:
        """Look a customer up; `UNKNOWN` when there is none of this id."""
        keys = keys_of(np.array([customer_id]))
        return int(self.index().find(keys, hash_ids(keys))[0])

    def unknown(self, customer_ids: list[bytes]) -> list[bytes]:
        """Give those of some ids that no customer has."""
        keys = keys_of(np.array(customer_ids, dtype=np.bytes_))
        is_unknown = self.index().find(keys, hash_ids(keys)) == UNKNOWN
        return [customer_ids[number] for number in np.flatnonzero(is_unknown).tolist()]

    def index(self) -> IdIndex:
        """Bring the index up to date: names come after their places, so what is new waits for the next look-up."""
        if self._index is None:
            self._index, self._indexed_count = IdIndex(self._keys), 0
        if self._indexed_count < self._count:
            fresh = np.arange(self._indexed_count, self._count)
            self._index.insert(self._hashes[fresh], fresh)
            self._indexed_count = self._count
        return self._index

    def rows_at(self, places: NDArray[np.int64]) -> RowBlock:
        """Copy the rows at some places; shape `(n,)`."""
        rows: RowBlock = np.take(self._bytes[: self._count], places).view(self._dtype)
        return rows

    def ids_at(self, places: NDArray[np.int64]) -> list[str]:
        """Give the ids at some places."""
        keys = self._keys[places].tolist()
        return [
            self._long_ids.get(place, key).decode("utf-8", "replace")
            for place, key in zip(places.tolist(), keys, strict=True)
        ]

    def partition_at(self, place: int) -> int:
        """Give the partition whose shard keeps a customer."""
        return int(self._partitions[place])

    def states_at(self, places: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """Give the segments at some places."""
        return [self.codes.name(code) for code in self._segments[places].tolist()]

    def apply(self, partition: int, record: StateRecord) -> list[str]:
        """Take in rows of a partition's shard; gives the ids of the customers who were erased."""
        rows = record.rows.view(self._dtype)
        places = self._places_of(partition, record.row_numbers.astype(np.int64))
        if len(record.ids):
            self._name(places[record.id_places], record.ids)
        if len(places):
            self._replace(places, rows)
        if not len(record.erased):
            return []
        gone = self._places_of(partition, record.erased.astype(np.int64))
        gone = gone[self._segments[gone] != NOBODY]
        erased = self.ids_at(gone)
        self._erase(gone)
        return erased

    def watermark_of(self, record: StateRecord) -> int:
        """Give the latest clock of a record's customers; -1 when it has none."""
        rows: RowBlock = record.rows.view(self._dtype)
        return int(rows["clock_ms"].max(initial=-1))

    def forget_partition(self, partition: int) -> None:
        """Take out all customers of a partition, because its state log has to be read again."""
        places = self._places.pop(partition, None)
        if places is not None:
            self._erase(places[places != UNKNOWN])

    def page(
        self, code: int, axis: int, limit: int, after: tuple[float, int] | None
    ) -> tuple[NDArray[np.int64], tuple[float, int] | None]:
        """Give the next customers of a segment by falling score, ties in a fixed order that no restart changes.

        Nothing is sorted but what is given: a selection over the columns takes milliseconds for a million customers,
        so that no order has to be kept up to date while ten thousand scores a second change.

        Parameters
        ----------
        code
            The segment.
        axis
            Whose score orders them.
        limit
            Most customers.
        after
            Where the page before ended; None for the first page.

        Returns
        -------
        tuple
            Places of shape `(n,)`, and where this page ended; None when nobody comes after.
        """
        members = np.flatnonzero(self._segments[: self._count] == code)
        scores = self._scores[axis][members]
        if after is not None:
            score, mark = after
            is_left = (scores < score) | ((scores == score) & (self._hashes[members] > np.uint64(mark)))
            members, scores = members[is_left], scores[is_left]
        has_more = len(members) > limit
        if has_more:
            edge = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            above = members[scores > edge]
            tied = members[scores == edge]
            wanted = limit - len(above)
            if wanted < len(tied):
                tied = tied[np.argpartition(self._hashes[tied], wanted - 1)[:wanted]]
            members = np.concatenate((above, tied))
        order = np.lexsort((self._hashes[members], -self._scores[axis][members]))
        members = members[order]
        if not has_more:
            return members, None
        last = int(members[-1])
        return members, (float(self._scores[axis][last]), int(self._hashes[last]))

    def _places_of(self, partition: int, row_numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the places of a shard's rows, and give new ones to those that have none."""
        known = self._places.get(partition, np.empty(0, dtype=np.int64))
        if len(row_numbers) and int(row_numbers.max()) >= len(known):
            grown = np.full(max(2 * len(known), int(row_numbers.max()) + 1, 1024), UNKNOWN, dtype=np.int64)
            grown[: len(known)] = known
            self._places[partition] = known = grown
        places: NDArray[np.int64] = known[row_numbers]
        if (places == UNKNOWN).any():
            fresh = np.unique(row_numbers[places == UNKNOWN])
            known[fresh] = self._add(partition, len(fresh))
            places = known[row_numbers]
        return places

    def _add(self, partition: int, count: int) -> NDArray[np.int64]:
        start, end = self._count, self._count + count
        if end > len(self._bytes):
            message = f"the read model is full: {len(self._bytes)} customers"
            raise MemoryError(message)
        places = np.arange(start, end)
        self._count = end
        self._partitions[start:end] = partition
        self._segments[start:end] = NOBODY
        self._bytes[start:end].view(self._dtype)["bucket"] = NOT_HELD
        self._unname(places)
        return places

    def _unname(self, places: NDArray[np.int64]) -> None:
        """Take names away; such places have keys that are different, and that no id can be."""
        for place in places.tolist():
            self._long_ids.pop(place, None)
        keys = np.array([_NAMELESS_MARK + b"%d" % place for place in places.tolist()], dtype=f"S{KEY_BYTES}")
        self._rehash(places, keys)

    def _name(self, places: NDArray[np.int64], ids: NDArray[np.bytes_]) -> None:
        keys = keys_of(ids)
        is_other = self._keys[places] != keys
        places, ids, keys = places[is_other], ids[is_other], keys[is_other]
        if not len(places):
            return
        self._rehash(places, keys)
        if ids.dtype.itemsize > KEY_BYTES:
            for number in np.flatnonzero(np.char.str_len(ids) > KEY_BYTES).tolist():
                self._long_ids[int(places[number])] = bytes(ids[number])

    def _rehash(self, places: NDArray[np.int64], keys: NDArray[np.bytes_]) -> None:
        self._keys[places] = keys
        self._hashes[places] = hash_ids(keys)
        if (places < self._indexed_count).any():
            # The index cannot forget; a place whose customer was erased is given away again but seldom.
            self._index, self._indexed_count = None, 0

    def _replace(self, places: NDArray[np.int64], rows: RowBlock) -> None:
        buckets_before = self._bytes[places].view(self._dtype)["bucket"]
        states = states_of(rows["held"], rated(rows, rates_everyone=self._rates_everyone))
        codes = self.codes.of_states(states)
        self._count_segments(self._segments[places], codes)
        for axis, histogram in enumerate(self.histograms):
            for buckets, sign in ((buckets_before[:, axis], -1), (rows["bucket"][:, axis], 1)):
                np.add.at(histogram, buckets[buckets != NOT_HELD], sign)
        self._segments[places] = codes
        for axis, scores in enumerate(self._scores):
            scores[places] = rows["score"][:, axis]
        self._bytes[places] = rows.view(self._bytes.dtype)

    def _erase(self, places: NDArray[np.int64]) -> None:
        if not len(places):
            return
        nobody = np.zeros(len(places), dtype=self._dtype)
        nobody["bucket"] = NOT_HELD
        self._replace(places, nobody)
        self._count_segments(self._segments[places], np.full(len(places), NOBODY))
        self._segments[places] = NOBODY
        self._unname(places)

    def _count_segments(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
        for codes, sign in ((before, -1), (after, 1)):
            distinct, counts = np.unique(codes, return_counts=True)
            for code, count in zip(distinct.tolist(), counts.tolist(), strict=True):
                if code == NOBODY:
                    continue
                left = self.populations.pop(code, 0) + sign * count
                if left:
                    self.populations[code] = left
