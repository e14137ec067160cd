"""Errors as the API tells them: problem details of RFC 9457 for every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from stream_app.web.answers import Problem

MEDIA_TYPE = "application/problem+json"
_URN = "urn:stream-app:problem"
_ERRORS_MAX = 20
INTERNAL_ERROR = "the server failed on this request; its log says where"


class ProblemError(Exception):
    """A request that cannot be answered.

    Parameters
    ----------
    status
        HTTP status.
    code
        Stable name in snake case.
    detail
        What is wrong and what is allowed; without the values of the request, which may be personal.
    headers
        To send along, as `Retry-After`.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})


def problem_body(status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None) -> bytes:
    """Write a problem as JSON."""
    document: dict[str, Any] = {
        "type": f"{_URN}:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return orjson.dumps(document if errors is None else document | {"errors": errors})


def _response(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Let every expected error of an application be told as a problem; the gate tells of the others."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return _response(problem_body(error.status, error.code, error.detail), error.status, error.headers)

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        details = {
            404: "there is nothing at this address; the API is described at /openapi.json",
            405: "this address does not take that method; see the Allow header",
        }
        detail = details.get(error.status_code, phrase)
        return _response(problem_body(error.status_code, code, detail), error.status_code, error.headers)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [
            {"where": ".".join(str(part) for part in fault["loc"]), "what": fault["msg"], "kind": fault["type"]}
            for fault in error.errors()[:_ERRORS_MAX]
        ]
        places = ", ".join(fault["where"] for fault in faults)
        return _response(problem_body(422, "invalid_parameter", f"not allowed: {places}", faults), 422)

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problems that a route may give, for its OpenAPI description."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
