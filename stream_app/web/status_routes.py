"""Routes about the system itself: how far it has come, how good its predictions are, whether it is well."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import orjson
from fastapi import APIRouter, Request, Response

from stream_app import __version__
from stream_app.web.answers import QualityAnswer
from stream_app.web.change_stream import ChangeHub
from stream_app.web.problems import ProblemError
from stream_app.web.progress import PartitionProgress
from stream_app.web.read_model import ReadModel
from stream_app.web.segment_routes import axes_of
from stream_app.web.sending import send_answer
from stream_app.web.standing import write_time
from stream_app.web.status_answers import KnowledgeStatus, PartitionStatus, PolicyStatus, StatusAnswer


def status_routes(model: ReadModel, hub: ChangeHub) -> APIRouter:
    """Make the routes."""
    router = APIRouter(tags=["status"])

    @router.get("/v1/status", response_model=StatusAnswer)
    async def read_status(request: Request) -> Response:
        """Tell what is going on: rates, lag, watermark, knowledge."""
        changes = await asyncio.to_thread(model.history.change_count)
        return send_answer(request, describe_status(model, hub, changes))

    @router.get("/v1/quality", response_model=QualityAnswer)
    async def read_quality(request: Request) -> Response:
        """Give the figures of prequential evaluation over time."""
        records = await asyncio.to_thread(model.history.quality)
        points = []
        for record in records:
            told = orjson.loads(record)
            figures = told.pop("figures", {})
            points.append({"time": write_time(int(told.pop("time_ms"))), **figures, **told})
        return send_answer(request, QualityAnswer(as_of=write_time(model.as_of_ms), points=points))

    @router.get("/livez", include_in_schema=False)
    async def is_alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", include_in_schema=False)
    async def is_ready() -> dict[str, str]:
        if model.fault is not None:
            raise ProblemError(503, "disconnected", "the log cannot be read", {"Retry-After": "2"})
        if not model.is_ready:
            raise ProblemError(503, "still_reading", "rows are still being read", {"Retry-After": "2"})
        return {"status": "ready"}

    return router


def describe_status(model: ReadModel, hub: ChangeHub, change_count: int) -> StatusAnswer:
    """Tell what is going on."""
    now = time.monotonic()
    events = sum(progress.events_position for progress in model.partitions.values())
    partitions = [_partition(number, progress) for number, progress in sorted(model.partitions.items())]
    lags = [partition.lag for partition in partitions if partition.lag is not None]
    return StatusAnswer(
        as_of=write_time(model.as_of_ms),
        state=_state(model),
        fault=model.fault,
        app=model.topics.app,
        customers=len(model.customers),
        changes=change_count,
        events=events,
        events_per_second=round(model.events_rate.per_second(now, events), 1),
        changes_per_second=round(model.changes_rate.per_second(now, model.changes_seen), 1),
        lag=sum(lags) if lags else None,
        watermark=write_time(model.watermark_ms),
        knowledge=_knowledge(model),
        policy=PolicyStatus(
            name=model.policy.name,
            owner=model.policy.owner,
            objective=model.policy.objective,
            version=model.policy.content_hash,
            currency=model.policy.reporting_currency,
            axes=axes_of(model),
        ),
        partitions=partitions,
        streams=hub.stream_count,
        version=__version__,
    )


def _state(model: ReadModel) -> Literal["reading", "live", "disconnected"]:
    if model.fault is not None:
        return "disconnected"
    return "live" if model.is_ready else "reading"


def _partition(number: int, progress: PartitionProgress) -> PartitionStatus:
    end = None if progress.events_end < 0 else progress.events_end
    return PartitionStatus(
        partition=number,
        events_position=progress.events_position,
        events_end=end,
        lag=None if end is None else max(end - progress.events_position, 0),
        watermark=write_time(progress.watermark_ms),
        last_tick=write_time(progress.tick_ms),
        knowledge_version=progress.knowledge_version,
        is_read=progress.is_read,
    )


def _knowledge(model: ReadModel) -> KnowledgeStatus | None:
    knowledge = model.knowledge.newest
    if knowledge is None:
        return None
    made_ms, as_of_ms = knowledge.time_reached_ms, model.as_of_ms
    return KnowledgeStatus(
        version=knowledge.version,
        scoring_version=knowledge.scoring.version,
        made_at=write_time(made_ms),
        age_seconds=None if made_ms < 0 or as_of_ms < 0 else max(as_of_ms - made_ms, 0) / 1000,
        outcomes_learned=knowledge.scoring.label_count,
        rated_customers={name: None if lines is None else lines.rated_count for name, lines in knowledge.axes.items()},
    )
