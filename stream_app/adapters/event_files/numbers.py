"""Amounts and ratings of a column as float64, with either decimal mark."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.event_files.text_arrays import Array, can_cast, to_mask

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_PLAIN_COMMA = r"^[+-]?(\d+,?\d*|,\d+)$"
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_BLANK_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:[ '\u00a0\u202f\u2019][0-9]{3})+(?:[.,][0-9]*)?")
_GROUP_BLANKS = re.compile(r"[ '\u00a0\u202f\u2019]")
_COMMA_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_POINT_GROUPS = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]*)?")
_POINT_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_COMMA_NUMBER = re.compile(r"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+)")
_AMBIGUOUS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumn:
    """Numbers of a column.

    Parameters
    ----------
    values
        Shape `(n,)`, float64; may be infinite or NaN as the source has it; 0 where missing or wrong.
    is_missing
        Shape `(n,)`, bool.
    is_wrong
        Shape `(n,)`, bool: neither missing nor a number.
    """

    values: NDArray[np.float64]
    is_missing: NDArray[np.bool_]
    is_wrong: NDArray[np.bool_]


def read_numbers(array: Array, decimal: str | None) -> NumberColumn:
    """Read a column of numbers.

    Parameters
    ----------
    array
        Arrow array of length n: integers, floats, decimals or text.
    decimal
        Decimal mark of text, `.` or `,`; None: not known, then a cell must show it by itself.
    """
    is_missing = to_mask(array.is_null())
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        values[is_missing] = 0.0
        return NumberColumn(values, is_missing, np.zeros(len(array), dtype=np.bool_))
    values = np.zeros(len(array))
    if not pa.types.is_string(kind):
        return NumberColumn(values, is_missing, ~is_missing)
    is_wrong = np.zeros(len(array), dtype=np.bool_)
    if not _read_uniform(array, decimal, values):
        _read_mixed(array, decimal, values, is_wrong)
    values[is_missing] = 0.0
    return NumberColumn(values, is_missing, is_wrong)


def _read_uniform(texts: Array, decimal: str | None, values: NDArray[np.float64]) -> bool:
    """Read texts that are all plain; False when they are not."""
    if decimal == ",":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return False
        texts = pc.replace_substring(texts, ",", ".")
    if not can_cast(texts, pa.float64()):
        return False
    try:
        values[:] = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return False
    return True


def _read_mixed(texts: Array, decimal: str | None, values: NDArray[np.float64], is_wrong: NDArray[np.bool_]) -> None:
    plain = _PLAIN_COMMA if decimal == "," else _PLAIN
    is_plain = to_mask(pc.match_substring_regex(texts, plain))
    rows = np.flatnonzero(is_plain)
    part = texts.take(pa.array(rows))
    if decimal == ",":
        part = pc.replace_substring(part, ",", ".")
    values[rows] = part.cast(pa.float64()).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~is_plain & to_mask(texts.is_valid()))
    if not len(rows):
        return
    different = pc.dictionary_encode(texts.take(pa.array(rows)))
    found = [parse_number(text, decimal) for text in different.dictionary.to_pylist()]
    codes = different.indices.to_numpy(zero_copy_only=False)
    values[rows] = np.array([0.0 if number is None else number for number in found])[codes]
    is_wrong[rows] = np.array([number is None for number in found])[codes]


def parse_number(text: str, decimal: str | None) -> float | None:
    """Read one number; None when it is none, or could be two different ones.

    Parameters
    ----------
    text
        As the cell has it.
    decimal
        Decimal mark, `.` or `,`; None: not known.

    Examples
    --------
    >>> parse_number("1.234,50", ","), parse_number("1,234.5", None), parse_number("7,50", None)
    (1234.5, 1234.5, 7.5)
    >>> parse_number("1,234", None) is None
    True
    """
    text = text.strip().replace("\u2212", "-")
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    if _BLANK_GROUPS.fullmatch(text):
        text = _GROUP_BLANKS.sub("", text)
    if decimal != "," and _POINT_NUMBER.fullmatch(text):
        return float(text)
    if decimal != "." and _COMMA_NUMBER.fullmatch(text):
        return None if decimal is None and _AMBIGUOUS.fullmatch(text) else float(text.replace(",", "."))
    if decimal != "," and _COMMA_GROUPS.fullmatch(text):
        return float(text.replace(",", ""))
    if decimal != "." and _POINT_GROUPS.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    return None
