"""Reads the numbers of JSON texts, where a multiplication or a division makes them exact.

References
----------
W. D. Clinger: How to read floating point numbers accurately, PLDI 1990, section 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled

_PLUS, _MINUS, _DOT, _ZERO, _UPPER_E, _LOWER_E = b"+-.0Ee"
_POWERS_OF_TEN = np.array([float(f"1e{exponent}") for exponent in range(23)])
"""All that are exact in binary."""
_EXACT_MAX = 1 << 53
_BEYOND = 1 << 30
"""An exponent that the digits of no record make up for."""


def read_numbers(
    data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], is_number: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Read numbers.

    Parameters
    ----------
    data
        Bytes in which they stand.
    begins, ends
        Shape `(n,)`: where each begins and ends.
    is_number
        Shape `(n,)`: False where there is none. The others are numbers as RFC 8259 writes them.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n,)`: the double that is nearest; NaN where there is none, or one that is not exact by one operation.
    """
    return _numbers(data, begins, ends, is_number, _POWERS_OF_TEN)


@compiled
def _numbers(
    data: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    is_number: NDArray[np.bool_],
    powers: NDArray[np.float64],
) -> NDArray[np.float64]:
    numbers = np.full(len(begins), np.nan)
    for row in range(len(begins)):
        if is_number[row]:
            numbers[row] = _number_of(data[begins[row] : ends[row]], powers)
    return numbers


@compiled
def _number_of(text, powers):  # type: ignore[no-untyped-def]
    """Give the number that a text says; NaN where digits and power of ten are not both exact in binary."""
    is_negative = text[0] == _MINUS
    digits, exponent, is_behind_dot = 0, 0, False
    at = 1 if is_negative else 0
    while at < len(text) and text[at] != _LOWER_E and text[at] != _UPPER_E:
        if text[at] == _DOT:
            is_behind_dot = True
        else:
            digits = digits * 10 + (text[at] - _ZERO)
            exponent -= 1 if is_behind_dot else 0
            if digits > _EXACT_MAX:
                return np.nan
        at += 1
    if at < len(text):
        exponent += _exponent_of(text[at + 1 :])
    if abs(exponent) >= len(powers):
        return np.nan
    size = digits * powers[exponent] if exponent >= 0 else digits / powers[-exponent]
    return -size if is_negative else size


@compiled
def _exponent_of(text):  # type: ignore[no-untyped-def]
    """Give the exponent that a text says, or something beyond what matters."""
    at = 1 if text[0] == _MINUS or text[0] == _PLUS else 0
    exponent = 0
    while at < len(text):
        exponent = min(exponent * 10 + (text[at] - _ZERO), _BEYOND)
        at += 1
    return -exponent if text[0] == _MINUS else exponent
