"""Text columns of Arrow as padded byte arrays of numpy, without a Python object for each value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_PROBED_TEXTS = 32

Array = Any
"""A `pyarrow.Array`; pyarrow ships no types."""


def as_text(array: Array) -> Array:
    """Give an array of text with 32-bit offsets, whatever kind of text it was."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    return array if array.type == pa.string() else array.cast(pa.string())


def text_bytes(texts: Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Give where each text begins and ends, and the bytes of all of them.

    Parameters
    ----------
    texts
        `pa.string()` array of length n; null counts as empty.

    Returns
    -------
    offsets
        Shape `(n + 1,)`, from 0.
    data
        Shape `(offsets[-1],)`.
    """
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    _, offset_buffer, data_buffer = texts.buffers()
    if len(texts) == 0:
        return np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    offsets = offsets.astype(np.int64)
    data = np.empty(0, dtype=np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]


def pack_texts(texts: Array) -> NDArray[np.bytes_]:
    r"""Put texts into one array of bytes, as `identifiers.pack_ids` does for a list.

    Parameters
    ----------
    texts
        `pa.string()` array of length n without NUL characters; null counts as empty.

    Returns
    -------
    NDArray[np.bytes_]
        Shape `(n,)`, dtype `S<width of the longest>`.

    Examples
    --------
    >>> pack_texts(pa.array(["b", "ä"])).tolist()
    [b'b', b'\xc3\xa4']
    """
    offsets, data = text_bytes(texts)
    lengths = np.diff(offsets)
    width = max(int(lengths.max(initial=0)), 1)
    if len(lengths) and int(lengths.min()) == width:
        return data.copy().view(f"S{width}")
    matrix = np.zeros((len(lengths), width), dtype=np.uint8)
    matrix[np.arange(width) < lengths[:, np.newaxis]] = data
    return matrix.view(f"S{width}").reshape(len(lengths))


def has_nul(texts: Array) -> NDArray[np.bool_]:
    """Tell which texts hold a NUL character; shape `(n,)`."""
    offsets, data = text_bytes(texts)
    is_found = np.zeros(len(offsets) - 1, dtype=np.bool_)
    nul_places = np.flatnonzero(data == 0)
    if len(nul_places):
        is_found[np.searchsorted(offsets, nul_places, side="right") - 1] = True
    return is_found


def to_mask(array: Array) -> NDArray[np.bool_]:
    """Turn an Arrow array of booleans into numpy; null is False."""
    if array.null_count:
        array = pc.fill_null(array, False)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.bool_)


def can_cast(texts: Array, kind: Any) -> bool:
    """Tell whether the first texts of an array can be cast to a type."""
    try:
        pc.cast(texts.slice(0, _PROBED_TEXTS), kind)
    except pa.ArrowInvalid:
        return False
    return True
