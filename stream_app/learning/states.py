"""States of several parts in one flat mapping of plain arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

State = Mapping[str, NDArray[np.generic]]


def join_states(parts: Mapping[str, State]) -> dict[str, NDArray[np.generic]]:
    """Put the states of named parts into one mapping; names are joined by a dot."""
    return {f"{part}.{name}": values for part, state in parts.items() for name, values in state.items()}


def part_of(state: State, part: str) -> dict[str, NDArray[np.generic]]:
    """Give the state of one part."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
