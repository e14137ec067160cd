"""Season as a change of time: how many season days pass in each hour of the calendar.

A shop with season is a shop without season on a clock that runs at another speed: faster in the evening, at
the weekend and before Christmas. The clock's speed is the product of a yearly, a weekly and an hourly factor,
constant within each hour; over a year it is 1 on average. What is random (gaps between purchases, lags,
lifetimes) is drawn in season days and then read off the calendar. The BG/NBD model therefore holds exactly in
season days, and a rate per day means per season day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MS_PER_HOUR = 3_600_000
HOURS_PER_DAY = 24

HOUR_WEIGHTS = (
    0.40, 0.22, 0.12, 0.08, 0.08, 0.15, 0.35, 0.65, 0.90, 1.10, 1.20, 1.25,
    1.35, 1.25, 1.15, 1.15, 1.25, 1.40, 1.60, 1.85, 2.05, 1.95, 1.50, 0.90,
)  # fmt: skip
"""Relative intensity of each hour of the UTC day, from midnight."""
WEEKDAY_WEIGHTS = (0.95, 0.90, 0.90, 0.95, 1.05, 1.15, 1.10)
"""Relative intensity of each day of the week, from Monday."""
YEAR_KNOTS = (
    (0, 0.80), (45, 0.90), (120, 1.00), (180, 0.95), (205, 0.82), (240, 0.92), (290, 1.00), (318, 1.15),
    (331, 1.80), (336, 1.45), (350, 2.00), (356, 1.60), (359, 0.60), (365, 0.80),
)  # fmt: skip
"""Relative intensity at days of the year counted from 0, straight lines between them: a dip in summer, a peak
in the last week of November, and the highest one in the week before Christmas."""

_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


def day_factors(days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the mean speed of the season's clock on each day.

    Parameters
    ----------
    days
        Shape `(n,)`: whole UTC days since 1970-01-01.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n,)`, season days per day.
    """
    knot_days, knot_weights = (np.array(column, dtype=np.float64) for column in zip(*YEAR_KNOTS, strict=True))
    year_mean = np.interp(np.arange(365.0), knot_days, knot_weights).mean()
    dates = days.astype("datetime64[D]")
    days_of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64)
    year_factors = np.interp(days_of_year, knot_days, knot_weights) / year_mean
    weekday_factors = np.array(WEEKDAY_WEIGHTS) / np.mean(WEEKDAY_WEIGHTS)
    return np.asarray(year_factors * weekday_factors[(days + _EPOCH_WEEKDAY) % 7], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """The season's clock from one UTC midnight to a later one.

    Parameters
    ----------
    start_ms
        First midnight, in milliseconds since 1970-01-01 UTC.
    elapsed_days
        Shape `(n_hours + 1,)`, increasing from 0: season days that have passed at each full hour.
    """

    start_ms: int
    elapsed_days: NDArray[np.float64]

    @classmethod
    def spanning(cls, start_ms: int, days: int, *, has_season: bool) -> Season:
        """Make the clock for `days` days from the midnight `start_ms` on."""
        day_numbers = start_ms // (HOURS_PER_DAY * MS_PER_HOUR) + np.arange(days, dtype=np.int64)
        hour_factors = np.array(HOUR_WEIGHTS) / np.sum(HOUR_WEIGHTS)
        if has_season:
            speeds = np.outer(day_factors(day_numbers), hour_factors).ravel()
        else:
            speeds = np.full(days * HOURS_PER_DAY, 1.0 / HOURS_PER_DAY)
        return cls(start_ms=start_ms, elapsed_days=np.concatenate(([0.0], np.cumsum(speeds))))

    @property
    def length_days(self) -> float:
        """Season days from the first midnight to the last."""
        return float(self.elapsed_days[-1])

    def season_days_at(self, times_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the season days from the start to each time; times outside of the span count as its ends."""
        hours = (times_ms - self.start_ms) / MS_PER_HOUR
        return np.interp(hours, np.arange(len(self.elapsed_days)), self.elapsed_days)

    def times_ms_at(self, season_days: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the time at which so many season days have passed, rounded down to milliseconds.

        Parameters
        ----------
        season_days
            Shape `(n,)`; values outside of `[0, length_days]` count as its ends.
        """
        hours = np.interp(season_days, self.elapsed_days, np.arange(len(self.elapsed_days)))
        return np.asarray(self.start_ms + np.floor(hours * MS_PER_HOUR).astype(np.int64), dtype=np.int64)
