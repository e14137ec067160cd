"""Draws for sampling and for breaking ties: hashes of numbers, the same on every machine and release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INCREMENT = 0x9E3779B97F4A7C15
"""The golden ratio in 64 bits, as the generator's authors use it."""
WORD = 2**64
TIE_SEED = 20_240


def hashed_bits(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Hash numbers to 64 evenly distributed bits.

    Parameters
    ----------
    numbers
        Shape `(n,)`.
    seed
        Another seed gives unrelated bits.

    Returns
    -------
    NDArray[np.uint64]
        Shape `(n,)`.

    References
    ----------
    G. Steele, D. Lea, C. Flood (2014), Fast Splittable Pseudorandom Number Generators, OOPSLA, figures 16 and 17.
    """
    bits = (numbers + np.uint64((seed + 1) * INCREMENT % WORD)) * np.uint64(INCREMENT)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def ranked(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order by falling score, ties at random with a fixed seed; shape `(n,)`."""
    tie_breaker = hashed_bits(np.arange(len(score), dtype=np.uint64), TIE_SEED)
    return np.lexsort((tie_breaker, -score)).astype(np.int64)
