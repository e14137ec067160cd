"""Routes about counts over time: migrations between tiers, populations and changes."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from stream_app.web.answers import MigrationsAnswer, PopulationsAnswer
from stream_app.web.change_records import HOUR_MS
from stream_app.web.parameters import AxisQuery, TimeQuery, read_axis, read_time
from stream_app.web.problems import problem_responses
from stream_app.web.read_model import ReadModel
from stream_app.web.sending import send_answer
from stream_app.web.series import POINTS_MAX, count_migrations, populations_over_time, steps_of
from stream_app.web.standing import write_time

_ONE_STEP = 1 << 40
"""Hours of a step that holds all of time."""


def series_routes(model: ReadModel) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1", tags=["changes"], responses=problem_responses(422))

    @router.get("/migrations", response_model=MigrationsAnswer)
    async def read_migrations(
        request: Request, axis: AxisQuery = None, since: TimeQuery = None, until: TimeQuery = None
    ) -> Response:
        """Count how often customers went from tier to tier; times are taken in whole hours."""
        place = None if axis is None else read_axis(model, axis)
        first, end = _hours(since, until)
        counts = await asyncio.to_thread(model.history.hour_counts, place, first, end, _ONE_STEP)
        places = range(len(model.policy.axes)) if place is None else [place]
        answer = MigrationsAnswer(
            as_of=write_time(model.changes_as_of_ms),
            since=None if first is None else write_time(first * HOUR_MS),
            until=None if end is None else write_time(end * HOUR_MS),
            axes=count_migrations(model, counts, places),
        )
        return send_answer(request, answer)

    @router.get("/populations", response_model=PopulationsAnswer)
    async def read_populations(
        request: Request,
        since: TimeQuery = None,
        until: TimeQuery = None,
        points: Annotated[int, Query(ge=1, le=POINTS_MAX, description="Most points in time.")] = 120,
    ) -> Response:
        """Give populations and changes over time; steps are as short as the number of points allows."""
        first, end = _hours(since, until)
        steps = steps_of(model, await asyncio.to_thread(model.history.hour_span), (first, end), points)
        counts = await asyncio.to_thread(model.history.hour_counts, None, None, steps.end, steps.step)
        return send_answer(request, populations_over_time(model, counts, steps))

    return router


def _hours(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Read times in hours since 1970-01-01: the hour that begins the span, and the one after its last."""
    since_ms, until_ms = read_time("since", since), read_time("until", until)
    first = None if since_ms is None else since_ms // HOUR_MS
    return first, None if until_ms is None else -(-until_ms // HOUR_MS)
