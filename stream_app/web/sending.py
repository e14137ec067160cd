"""How answers go out: as JSON, with the time they are of, and a tag by which an unchanged one is not sent again."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from stream_app.web.read_model import ReadModel
from stream_app.web.standing import write_time

_TAG_BYTES = 12


def send_answer(request: Request, answer: BaseModel) -> Response:
    """Send an answer."""
    document = answer.model_dump(mode="json")
    return send_parts(request, document.pop("as_of"), orjson.dumps(document)[1:-1])


def send_records(request: Request, model: ReadModel, records: list[bytes], about: dict[str, Any]) -> Response:
    """Send records of the log as they were published, within an answer.

    Parameters
    ----------
    request
        What is answered.
    model
        Gives the time.
    records
        JSON objects.
    about
        What else is in the answer.
    """
    rest = orjson.dumps(about)[1:-1]
    return send_parts(request, write_time(model.changes_as_of_ms), b'"items":[%b],%b' % (b",".join(records), rest))


def send_parts(request: Request, as_of: str | None, rest: bytes) -> Response:
    """Send an object of `as_of` and what else is in it, unless the client has it.

    The tag is weak and does not count `as_of`: time goes on with every tick, and an answer is the same for all that.
    """
    tag = f'W/"{blake2b(rest, digest_size=_TAG_BYTES).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache, private"}
    if as_of is not None:
        headers["As-Of"] = as_of
    known = request.headers.get("if-none-match")
    if known is not None and (known.strip() == "*" or tag in (part.strip() for part in known.split(","))):
        return Response(status_code=304, headers=headers)
    body = b'{"as_of":%b,%b}' % (orjson.dumps(as_of), rest)
    return Response(body, headers=headers, media_type="application/json")
