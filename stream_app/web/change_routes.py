"""Routes about segment changes, as lists and as live streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from stream_app.web.access import client_of
from stream_app.web.answers import ChangesAnswer
from stream_app.web.change_records import NO_TIER, ChangeFilter, StoredChange, WireChange
from stream_app.web.change_stream import ChangeHub, Matcher
from stream_app.web.parameters import (
    ChangeQuery,
    Cursor,
    Limit,
    query_changes,
    read_cursor,
    read_filter,
    write_cursor,
)
from stream_app.web.problems import problem_responses
from stream_app.web.read_model import ReadModel
from stream_app.web.segment_routes import describe_segments
from stream_app.web.sending import send_records

_CHANGE_CURSOR = "<qq"
_STREAM_TYPE = "text/event-stream"
Wanted = Annotated[ChangeQuery, Depends(query_changes)]
LastEventId = Annotated[str | None, Header(max_length=64, description="Where to go on, as the last event said.")]


def change_routes(model: ReadModel, hub: ChangeHub) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1", tags=["changes"], responses=problem_responses(422))

    def stream(request: Request, wanted: ChangeFilter, last_event_id: str | None, *, with_totals: bool) -> Response:
        # A stream that may not be opened is refused with a status, before anything of it is sent.
        admission = hub.admitted(client_of(request.scope))
        admission.__enter__()
        totals = (lambda: _totals(model)) if with_totals else None

        async def parts() -> AsyncIterator[bytes]:
            try:
                async for part in hub.stream(_matcher(model, wanted), last_event_id, totals):
                    yield part
            finally:
                admission.__exit__(None, None, None)

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(parts(), media_type=_STREAM_TYPE, headers=headers)

    @router.get(
        "/changes/stream",
        response_class=StreamingResponse,
        responses={200: {"content": {_STREAM_TYPE: {}}}, **problem_responses(422, 503)},
    )
    async def stream_changes(
        request: Request,
        query: Wanted,
        last_event_id: LastEventId = None,
        totals: Annotated[bool, Query(description="Also send populations, about once a second.")] = False,
    ) -> Response:
        """Send changes as they come (server-sent events): `ready`, `change`, `segments`, `skipped`, `reset`."""
        return stream(request, read_filter(model, query), last_event_id, with_totals=totals)

    @router.get("/changes", response_model=ChangesAnswer, responses={200: {"content": {_STREAM_TYPE: {}}}})
    async def read_changes(
        request: Request,
        query: Wanted,
        limit: Limit = 50,
        cursor: Cursor = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        """Give changes, newest first; to those who accept `text/event-stream`, send them as they come."""
        wanted = read_filter(model, query)
        if _STREAM_TYPE in request.headers.get("accept", ""):
            return stream(request, wanted, last_event_id, with_totals=False)
        before = read_cursor(_CHANGE_CURSOR, cursor)
        place = None if before is None else (int(before[0]), int(before[1]))
        changes = await asyncio.to_thread(model.history.changes, wanted, place, limit + 1)
        shown = changes[:limit]
        following = None
        if len(changes) > limit:
            following = write_cursor(_CHANGE_CURSOR, shown[-1].time_ms, shown[-1].number)
        return send_records(request, model, [change.record for change in shown], {"next": following})

    return router


def _totals(model: ReadModel) -> bytes:
    answer = describe_segments(model)
    short = [{"segment": own.segment, "customers": own.customers} for own in answer.segments]
    return orjson.dumps({"as_of": answer.as_of, "customers": answer.customers, "segments": short})


def _matcher(model: ReadModel, wanted: ChangeFilter) -> Matcher:
    """Make the test that tells which changes a stream gives."""
    if wanted == ChangeFilter():
        return lambda _: True
    decode = msgspec.json.Decoder(WireChange).decode

    def matches(change: StoredChange) -> bool:
        wire = decode(change.record)
        axis = model.policy.axis_names.index(wire.axis)
        tiers = model.policy.axes[axis].tiers
        from_tier = NO_TIER if wire.from_tier is None else tiers.index(wire.from_tier)
        checks = (
            (wanted.axis, axis),
            (wanted.from_tier, from_tier),
            (wanted.to_tier, tiers.index(wire.to_tier)),
            (wanted.cause, wire.cause),
        )
        is_in_time = (wanted.since_ms is None or change.time_ms >= wanted.since_ms) and (
            wanted.until_ms is None or change.time_ms < wanted.until_ms
        )
        return is_in_time and all(asked is None or asked == own for asked, own in checks)

    return matches
