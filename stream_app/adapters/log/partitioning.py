"""Which partition a key belongs to, as Kafka's own clients have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0x9747B28C
_MIX: Final = np.uint32(0x5BD1E995)
_SHIFT: Final = np.uint32(24)
_POSITIVE: Final = 0x7FFFFFFF
_WORD_BYTES: Final = 4


def partitions_of(keys: Sequence[bytes], partition_count: int) -> NDArray[np.int64]:
    """Give the partition of each key: murmur2, as Java's producer, aiokafka and kafka-python take it.

    Parameters
    ----------
    keys
        Length n.
    partition_count
        At least one.

    Returns
    -------
    NDArray[np.int64]
        Shape `(n,)`, from 0.

    Examples
    --------
    >>> partitions_of([b"21", b"foobar"], 1000).tolist()
    [340, 166]

    References
    ----------
    `org.apache.kafka.common.utils.Utils.murmur2` and `BuiltInPartitioner.partitionForKey`.
    """
    hashes = np.zeros(len(keys), dtype=np.uint32)
    by_length: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_length.setdefault(len(key), []).append(place)
    for length, places in by_length.items():
        joined = b"".join([keys[place] for place in places])
        characters = np.frombuffer(joined, dtype=np.uint8).reshape(len(places), length)
        hashes[places] = _murmur2(characters)
    return (hashes & np.uint32(_POSITIVE)).astype(np.int64) % partition_count


def _murmur2(characters: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hash rows of bytes, all of one length; shape `(n, length)` to `(n,)`."""
    count, length = characters.shape
    whole = length - length % _WORD_BYTES
    words = np.ascontiguousarray(characters[:, :whole]).view("<u4")
    hashes = np.full(count, (_SEED ^ length) & 0xFFFFFFFF, dtype=np.uint32)
    for place in range(words.shape[1]):
        word = words[:, place] * _MIX
        word ^= word >> _SHIFT
        hashes *= _MIX
        hashes ^= word * _MIX
    if whole < length:
        for place in range(whole, length):
            hashes ^= characters[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        hashes *= _MIX
    hashes ^= hashes >> np.uint32(13)
    hashes *= _MIX
    hashes ^= hashes >> np.uint32(15)
    return hashes
