"""Partitions merged by time, without a change of the order within any of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def merge_heads(heads: Sequence[NDArray[np.int64]]) -> tuple[list[int], NDArray[np.int64]]:
    """Say what can be taken from the beginnings of some sequences, and in which order, before any has to be read on.

    Parameters
    ----------
    heads
        At least one; of each sequence the rising keys that are at hand, at least one each.

    Returns
    -------
    counts
        How many to take of each; one head at least is taken whole.
    order
        Shape `(sum(counts),)`: places in what was taken, one head after the other, by key; equals go by head.

    Examples
    --------
    >>> counts, order = merge_heads([np.array([1, 4, 4]), np.array([2, 4, 9])])
    >>> counts, order.tolist()
    ([3, 1], [0, 3, 1, 2])
    """
    # Up to the end of the head that ends first, nothing that is not at hand can come in between.
    limit, limit_place = min((int(head[-1]), place) for place, head in enumerate(heads))
    counts = [
        int(np.searchsorted(head, limit, side="right" if place <= limit_place else "left"))
        for place, head in enumerate(heads)
    ]
    taken = np.concatenate([head[:count] for head, count in zip(heads, counts, strict=True)])
    return counts, np.argsort(taken, kind="stable")
