"""Routes about populations: the matrix of segments, who is in one, and how scores are spread."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from stream_app.domain.policy import AxisPolicy
from stream_app.web.answers import (
    AxisTiers,
    CutLine,
    DistributionAnswer,
    SegmentCustomersAnswer,
    SegmentPopulation,
    SegmentsAnswer,
    TierPopulation,
)
from stream_app.web.parameters import Cursor, Limit, read_axis, read_cursor, require_ready, write_cursor
from stream_app.web.problems import ProblemError, problem_responses
from stream_app.web.read_model import ReadModel
from stream_app.web.sending import send_answer
from stream_app.web.standing import list_customers, named, treatment_of, write_time

_PLACE_CURSOR = "<dQ"
BARS_MAX = 400
SEGMENTS_MAX = 2000
"""Most empty segments that are listed; a policy with more combinations shows those that have customers."""


def segment_routes(model: ReadModel) -> APIRouter:
    """Make the routes; paths and parameters are those of the policy's axes."""
    router = APIRouter(prefix="/v1", tags=["segments"], responses=problem_responses(422))
    names = model.policy.axis_names
    path = "/segments/" + "/".join(f"{{{name}}}" for name in names) + "/customers"
    tiers = {"parameters": [_tier_parameter(axis, model) for axis in model.policy.axes]}

    @router.get("/segments", response_model=SegmentsAnswer)
    async def read_segments(request: Request) -> Response:
        """Give the matrix of populations."""
        return send_answer(request, describe_segments(model))

    @router.get(
        path, response_model=SegmentCustomersAnswer, openapi_extra=tiers, responses=problem_responses(404, 422, 503)
    )
    async def read_segment_customers(
        request: Request,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Annotated[
            str | None,
            Query(max_length=40, description="Axis whose score orders them; the first one if none is given."),
        ] = None,
    ) -> Response:
        """Give the customers of a segment by falling score."""
        segment = tuple(str(request.path_params[name]) for name in names)
        try:
            code = model.customers.codes.of_names(segment)
        except ValueError:
            detail = "the policy has no such segment; /v1/segments lists axes and tiers"
            raise ProblemError(404, "unknown_segment", detail) from None
        require_ready(model)
        axis = 0 if sort is None else read_axis(model, sort)
        after = read_cursor(_PLACE_CURSOR, cursor)
        places, end = model.customers.page(code, axis, limit, None if after is None else (after[0], int(after[1])))
        answer = SegmentCustomersAnswer(
            as_of=write_time(model.as_of_ms),
            segment=named(model, segment),
            treatment=treatment_of(model, segment),
            customers=model.customers.populations.get(code, 0),
            sort=names[axis],
            items=list_customers(model, places),
            next=None if end is None else write_cursor(_PLACE_CURSOR, *end),
        )
        return send_answer(request, answer)

    @router.get("/distribution", response_model=DistributionAnswer)
    async def read_distribution(
        request: Request,
        axis: Annotated[
            str | None, Query(max_length=40, description="The axis; the first one if none is given.")
        ] = None,
        bars: Annotated[int, Query(ge=1, le=BARS_MAX, description="Most bars.")] = 60,
    ) -> Response:
        """Tell how the scores of an axis are spread, and where its lines are."""
        place = 0 if axis is None else read_axis(model, axis)
        return send_answer(request, describe_distribution(model, place, bars))

    return router


def _tier_parameter(axis: AxisPolicy, model: ReadModel) -> dict[str, Any]:
    names = model.customers.codes.names_of_axis(model.policy.axes.index(axis))
    return {
        "name": axis.name,
        "in": "path",
        "required": True,
        "description": f"Tier on the axis {axis.name}.",
        "schema": {"type": "string", "enum": [*axis.tiers, *names[:2]]},
        "example": axis.tiers[-1],
    }


def describe_segments(model: ReadModel) -> SegmentsAnswer:
    """Give the matrix of populations."""
    codes, populations = model.customers.codes, model.customers.populations
    customers = len(model.customers)
    listed = codes.rated_segments()
    if len(listed) > SEGMENTS_MAX:
        listed = []
    known = set(listed)
    others = sorted(code for code, count in populations.items() if count and codes.name(code) not in known)
    listed += [codes.name(code) for code in others]
    segments = [
        SegmentPopulation(
            segment=named(model, segment),
            customers=(count := populations.get(codes.of_names(segment), 0)),
            share=count / customers if customers else 0.0,
            treatment=treatment_of(model, segment),
        )
        for segment in listed
    ]
    return SegmentsAnswer(
        as_of=write_time(model.as_of_ms),
        axes=axes_of(model),
        customers=customers,
        segments=segments,
        tiers=_tier_populations(model),
    )


def axes_of(model: ReadModel) -> list[AxisTiers]:
    """Give the policy's axes and their tiers."""
    return [AxisTiers(axis=axis.name, tiers=list(axis.tiers)) for axis in model.policy.axes]


def _tier_populations(model: ReadModel) -> list[TierPopulation]:
    codes = model.customers.codes
    counts: dict[tuple[int, str], int] = {}
    for code, count in model.customers.populations.items():
        for place, tier in enumerate(codes.name(code)):
            counts[place, tier] = counts.get((place, tier), 0) + count
    return [
        TierPopulation(axis=axis.name, tier=tier, customers=counts.get((place, tier), 0))
        for place, axis in enumerate(model.policy.axes)
        for tier in (*axis.tiers, *codes.names_of_axis(place)[:2])
    ]


def describe_distribution(model: ReadModel, place: int, bars: int) -> DistributionAnswer:
    """Join the buckets of an axis to bars, from the lowest score to the highest."""
    axis, histogram = model.policy.axes[place], model.customers.histograms[place]
    function = model.functions[axis.name]
    used = np.flatnonzero(histogram)
    edges, counts = np.empty(0), np.empty(0, dtype=np.int64)
    if len(used):
        first, end = int(used[0]), int(used[-1]) + 1
        step = -(-(end - first) // bars)
        starts = np.arange(first, end, step)
        counts = np.add.reduceat(histogram[:end], starts)
        edges = np.append(starts, starts[-1] + step) * function.bucket_width
    knowledge = model.knowledge.newest
    lines = None if knowledge is None else knowledge.axes.get(axis.name)
    cuts = []
    if lines is not None:
        columns = zip(lines.cut_points, lines.promote_lines, lines.demote_lines, strict=True)
        cuts = [
            CutLine(
                lower_tier=axis.tiers[edge],
                upper_tier=axis.tiers[edge + 1],
                cut_point=float(cut),
                promote_line=float(promote),
                demote_line=float(demote),
            )
            for edge, (cut, promote, demote) in enumerate(columns)
        ]
    return DistributionAnswer(
        as_of=write_time(model.as_of_ms),
        axis=axis.name,
        customers=int(histogram.sum()),
        edges=edges.tolist(),
        shown_edges=function.shown(edges).tolist(),
        counts=counts.tolist(),
        lines=cuts,
        knowledge_version=None if knowledge is None else knowledge.version,
    )
