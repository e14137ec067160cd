"""Changes counted by time: migrations between tiers, populations and changes over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream_app.web.answers import AxisMigrations, AxisSeries, Migration, PopulationsAnswer
from stream_app.web.change_records import HOUR_MS, NO_TIER, HourCount
from stream_app.web.read_model import ReadModel
from stream_app.web.standing import write_time

POINTS_MAX = 1000
"""Most points of a series; steps are made longer until there are no more."""
HOUR, DAY, WEEK = 1, 24, 168
_STEPS = (HOUR, 3, 6, 12, DAY, 2 * DAY, WEEK, 4 * WEEK, 13 * WEEK, 52 * WEEK)


def count_migrations(model: ReadModel, counts: Sequence[HourCount], places: Sequence[int]) -> list[AxisMigrations]:
    """Add up how often customers went from tier to tier on some axes."""
    causes: dict[tuple[int, int, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for count in counts:
        causes[count.axis, count.from_tier, count.to_tier][count.cause] += count.changes
    answer = []
    for place in places:
        tiers = model.policy.axes[place].tiers
        pairs = [(low, high) for low in range(NO_TIER, len(tiers)) for high in range(len(tiers)) if low != high]
        answer.append(
            AxisMigrations(
                axis=model.policy.axes[place].name,
                tiers=list(tiers),
                migrations=[
                    Migration(
                        from_tier=None if low == NO_TIER else tiers[low],
                        to_tier=tiers[high],
                        changes=sum(causes[place, low, high].values()),
                        causes=dict(causes[place, low, high]),
                    )
                    for low, high in pairs
                ],
            )
        )
    return answer


def step_for(first_hour: int, end_hour: int, points: int) -> int:
    """Give the shortest step, in hours, by which a span has at most so many points."""
    for step in _STEPS:
        if -(-end_hour // step) - first_hour // step <= points:
            return step
    return _STEPS[-1] * -(-(end_hour - first_hour) // (_STEPS[-1] * points))


class Steps(NamedTuple):
    """Steps of a series, in hours since 1970-01-01 UTC: from `start`, which is a multiple of `step`, to `end`."""

    start: int
    end: int
    step: int


def steps_of(
    model: ReadModel, known: tuple[int, int] | None, wanted: tuple[int | None, int | None], points: int
) -> Steps:
    """Choose the steps of a series.

    Parameters
    ----------
    model
        Knows what time it is.
    known
        First hour with changes and the hour after the last.
    wanted
        First hour and the hour after the last; None: where changes begin, and now.
    points
        Most points.
    """
    since, until = wanted
    now_hour = max(model.changes_as_of_ms // HOUR_MS + 1, 0 if known is None else known[1])
    end = now_hour if until is None else min(now_hour, until)
    first = min(end if known is None else known[0], end) if since is None else min(since, end)
    step = step_for(first, end, points)
    return Steps(first // step * step, end, step)


def populations_over_time(model: ReadModel, counts: Sequence[HourCount], steps: Steps) -> PopulationsAnswer:
    """Add up populations and changes, step by step.

    Parameters
    ----------
    model
        Gives policy and time.
    counts
        By these steps, from the beginning: populations are sums of all that was before.
    steps
        What is told.
    """
    start, end, step = steps
    length = max(-(-(end - start) // step), 0)
    moves = np.zeros((length + 1, len(model.policy.axes), max(len(axis.tiers) for axis in model.policy.axes)), np.int64)
    sides = np.zeros((length + 1, len(model.policy.axes), 3), np.int64)
    for count in counts:
        # Place 0 holds all that was before.
        place = max((count.hour - start) // step + 1, 0)
        if place > length:
            continue
        moves[place, count.axis, count.to_tier] += count.changes
        if count.from_tier != NO_TIER:
            moves[place, count.axis, count.from_tier] -= count.changes
        side = 2 if count.from_tier == NO_TIER else int(count.to_tier < count.from_tier)
        sides[place, count.axis, side] += count.changes
    held = np.cumsum(moves, axis=0)[1:]
    return PopulationsAnswer(
        as_of=write_time(model.changes_as_of_ms),
        step_seconds=step * 3600,
        times=[str(write_time((start + (place + 1) * step) * HOUR_MS)) for place in range(length)],
        axes=[
            AxisSeries(
                axis=axis.name,
                tiers=list(axis.tiers),
                customers={tier: held[:, place, number].tolist() for number, tier in enumerate(axis.tiers)},
                rose=sides[1:, place, 0].tolist(),
                fell=sides[1:, place, 1].tolist(),
                first_rated=sides[1:, place, 2].tolist(),
            )
            for place, axis in enumerate(model.policy.axes)
        ],
    )
