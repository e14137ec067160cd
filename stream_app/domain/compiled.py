"""Formulas as plain loops over customers, compiled to machine code.

A formula of a hundred steps takes numpy a hundred passes over a block, each with a call that costs as much as the
arithmetic for a hundred customers. Compiled, it is one pass, and a small block costs a small block's time.

Compiled code is kept beside the source, or in the user's cache folder where that cannot be written, and is made again
when the file, processor or compiler change; after a change of the options here, `make clean`. Without `fastmath` the
compiler neither fuses nor reorders floating-point operations: a row's numbers are the same to the bit in any block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function of numbers and arrays when it is first called with their types.

    Parameters
    ----------
    function
        Of scalars and arrays; divisions by zero give what IEEE 754 says and raise nothing.

    Returns
    -------
    Callable
        The same function, to be called by itself or from another compiled one.
    """
    try:
        result: Callable[_P, _R] = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        # There is no folder to keep code in, as in a container that is read-only: every process compiles for itself.
        result = numba.njit(error_model="numpy")(function)
    return result
