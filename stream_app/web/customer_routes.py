"""Routes about one customer: where they stand, how they got there, and why."""

from __future__ import annotations

import asyncio

import numpy as np
from fastapi import APIRouter, Request, Response

from stream_app.web.answers import CustomerAnswer, HistoryAnswer
from stream_app.web.explaining import explain_customer
from stream_app.web.parameters import (
    Cursor,
    CustomerPath,
    Limit,
    find_customer,
    read_cursor,
    read_customer_id,
    write_cursor,
)
from stream_app.web.problems import ProblemError, problem_responses
from stream_app.web.read_model import ReadModel
from stream_app.web.sending import send_answer, send_records
from stream_app.web.standing import describe_customer, named, treatment_of, write_time
from stream_app.web.why_answers import WhyAnswer

_SEQUENCE_CURSOR = "<q"


def customer_routes(model: ReadModel) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/v1/customers", tags=["customers"], responses=problem_responses(404, 422, 503))

    @router.get("/{customer_id}", response_model=CustomerAnswer)
    async def read_customer(request: Request, customer_id: CustomerPath) -> Response:
        """Tell where a customer stands: segment, scores, treatment, and how fresh that is."""
        known = read_customer_id(customer_id)
        place = find_customer(model, known)
        return send_answer(request, describe_customer(model, known.decode(), place))

    @router.get("/{customer_id}/history", response_model=HistoryAnswer)
    async def read_history(
        request: Request, customer_id: CustomerPath, limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """Give all segment changes of a customer, oldest first."""
        known = read_customer_id(customer_id)
        if model.is_ready:
            find_customer(model, known)
        after = read_cursor(_SEQUENCE_CURSOR, cursor)
        sequence = 0 if after is None else int(after[0])
        changes = await asyncio.to_thread(model.history.changes_of, known, sequence, limit + 1)
        if not changes and model.customers.find(known) < 0:
            find_customer(model, known)
        shown = changes[:limit]
        following = None
        if len(changes) > limit:
            following = write_cursor(_SEQUENCE_CURSOR, shown[-1].sequence)
        about = {"next": following, "customer_id": known.decode()}
        return send_records(request, model, [change.record for change in shown], about)

    @router.get("/{customer_id}/why", response_model=WhyAnswer)
    async def read_why(request: Request, customer_id: CustomerPath) -> Response:
        """Explain a customer's segment: what each score is made of, and what would change the tier."""
        known = read_customer_id(customer_id)
        place = find_customer(model, known)
        row = model.customers.rows_at(np.array([place]))
        segment = model.customers.states_at(np.array([place]))[0]
        axes, expectation = explain_customer(model, row, model.customers.partition_at(place))
        answer = WhyAnswer(
            as_of=write_time(model.as_of_ms),
            customer_id=known.decode(),
            segment=named(model, segment),
            treatment=treatment_of(model, segment),
            axes=axes,
            expectation=expectation,
        )
        return send_answer(request, answer)

    @router.get("/", include_in_schema=False)
    async def refuse_nobody() -> Response:
        detail = "name a customer: /v1/customers/ID"
        raise ProblemError(404, "unknown_customer", detail)

    return router
