"""Exponential decay by half-lives, on contiguous arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decay(elapsed_ms: NDArray[np.int64], half_life_ms: float) -> NDArray[np.float64]:
    """Give what is left of 1 after some time.

    Parameters
    ----------
    elapsed_ms
        Shape `(n,)`, >= 0.
    half_life_ms
        Time in milliseconds after which a half is left.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n,)`, contiguous, in [0, 1]: 2 ** (-elapsed / half-life).

    Examples
    --------
    >>> decay(np.array([0, 10, 20]), 10.0).tolist()
    [1.0, 0.5, 0.25]
    """
    result: NDArray[np.float64] = np.exp2(elapsed_ms / -half_life_ms)
    return result
