"""Customer ids, event ids and other names of a column, as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.event_files.text_arrays import Array, to_mask

EXACT_INTEGER_MAX = 2.0**53
"""From here on, several integers share one float64: such ids could be mixed up."""

_EMPTY_WORDS = ("", "NULL", "null", "\\N", "NaN", "nan", "None", "<NA>")
"""How databases and data frames write a missing value into delimited text."""


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """Names of a column.

    Parameters
    ----------
    texts
        `pa.string()` array of length n; null where missing or wrong.
    is_wrong
        Shape `(n,)`, bool: there is a value that can be no name, as a boolean or a fraction.
    """

    texts: Array
    is_wrong: NDArray[np.bool_]


def clean_cells(cells: Array) -> Array:
    """Take white space off the ends of text cells, and make empty ones null."""
    if not pa.types.is_string(cells.type):
        return cells
    trimmed = pc.utf8_trim_whitespace(cells)
    is_empty = pc.equal(pc.binary_length(trimmed), 0)
    if not pc.any(is_empty).as_py():
        return trimmed
    return pc.if_else(is_empty, pa.scalar(None, pa.string()), trimmed)


def without_empty_words(texts: Array) -> Array:
    """Make null the words that stand for a missing value in delimited text."""
    is_empty = pc.is_in(texts, value_set=pa.array(_EMPTY_WORDS))
    if not pc.any(is_empty).as_py():
        return texts
    return pc.if_else(is_empty, pa.scalar(None, pa.string()), texts)


def read_texts(array: Array) -> TextColumn:
    """Read a column of names.

    Parameters
    ----------
    array
        Arrow array of length n: text, which stays as it is; integers, which become their decimal text; floats and
        decimals that are whole numbers, likewise.
    """
    is_valid = to_mask(array.is_valid())
    nothing_wrong = np.zeros(len(array), dtype=np.bool_)
    kind = array.type
    if pa.types.is_string(kind):
        return TextColumn(array, nothing_wrong)
    if pa.types.is_integer(kind):
        return TextColumn(array.cast(pa.string()), nothing_wrong)
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return TextColumn(array.cast(pa.string()), nothing_wrong)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        is_missing = np.isnan(values) | ~is_valid
        is_whole = ~is_missing & (np.abs(values) < EXACT_INTEGER_MAX) & (values == np.floor(values))
        whole = pa.array(np.where(is_whole, values, 0.0).astype(np.int64), mask=~is_whole)
        return TextColumn(whole.cast(pa.string()), ~is_missing & ~is_whole)
    return TextColumn(pa.nulls(len(array), pa.string()), is_valid)
