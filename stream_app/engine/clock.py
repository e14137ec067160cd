"""How far an engine has come."""

from __future__ import annotations

from dataclasses import dataclass

NO_TICK_MS = -1
"""Stands for the last tick before there was one."""


@dataclass(frozen=True, slots=True)
class EngineClock:
    """How far an engine has come.

    Parameters
    ----------
    last_tick_ms
        The last tick, or `NO_TICK_MS`.
    sums_day
        UTC day (days since 1970-01-01) of the last tick before the sweeps that the term sums hold.
    scoring_version
        The scoring of the rows; 0 before there was any.
    """

    last_tick_ms: int
    sums_day: int
    scoring_version: int
