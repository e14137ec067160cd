"""Arrays in reserved address space: they grow in place, and only what is written takes memory."""

from __future__ import annotations

import contextlib
import mmap
import sys

import numpy as np
from numpy.typing import NDArray

_MAP_NORESERVE = 0x4000 if sys.platform.startswith("linux") else 0
"""Linux: do not count the reservation as used memory. Python 3.11 has no name for the flag."""


def reserve(rows_max: int, dtype: np.dtype[np.void] | np.dtype[np.bytes_]) -> NDArray[np.void]:
    """Reserve room for an array without using it yet.

    The operating system gives memory to a page when it is first written, so an array that grows towards `rows_max` is
    never copied. Huge pages are asked for, because rows are visited at random.

    Parameters
    ----------
    rows_max
        Rows to reserve; halved for as long as the system refuses, as under strict overcommit.
    dtype
        Type of a row.

    Returns
    -------
    NDArray
        Shape `(rows_max,)` or shorter, all bytes zero.

    Raises
    ------
    MemoryError
        When not even 65,536 rows can be had.
    """
    rows_min = 1 << 16
    while True:
        size = rows_max * dtype.itemsize
        try:
            region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        except (OSError, ValueError, OverflowError) as error:
            if rows_max <= rows_min:
                message = f"cannot reserve {size} bytes for {rows_max} customers: {error}"
                raise MemoryError(message) from error
            rows_max //= 2
            continue
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # A kernel without huge pages only makes look-ups slower.
            with contextlib.suppress(OSError):
                region.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(region, dtype=dtype, count=rows_max)
