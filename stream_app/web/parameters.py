"""What requests may ask for, read and checked: ids, cursors, times, tiers."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import unquote_to_bytes

from fastapi import Path, Query

from stream_app.adapters.event_rules import parse_time_ms
from stream_app.domain.errors import InvalidEventError
from stream_app.web.change_records import NO_TIER, ChangeFilter
from stream_app.web.problems import ProblemError
from stream_app.web.read_model import ReadModel

ID_BYTES_MAX = 256
PAGE_MAX = 500
CURSOR_LENGTH_MAX = 64
INVALID = "invalid_parameter"
NULL_TIER = "none"
"""How a request says `null`: the tier before a first rating."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items of the page.")]
Cursor = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next` of the page before; none for the first page.")
]
CustomerPath = Annotated[
    str,
    Path(description="The customer's id, percent-encoded (also `/`), 1 to 256 bytes of UTF-8.", examples=["c-48213"]),
]
AxisQuery = Annotated[str | None, Query(max_length=40, description="Name of an axis.")]
TimeQuery = Annotated[
    str | None,
    Query(max_length=40, description="A time of RFC 3339 or a day.", examples=["2024-05-01T00:00:00Z"]),
]


def read_customer_id(quoted: str) -> bytes:
    """Read the id in a path.

    Raises
    ------
    ProblemError
        When no customer can have such an id.
    """
    customer_id = unquote_to_bytes(quoted)
    try:
        customer_id.decode()
    except UnicodeDecodeError:
        raise ProblemError(422, INVALID, "customer_id: an id is UTF-8, percent-encoded") from None
    if not 1 <= len(customer_id) <= ID_BYTES_MAX or b"\0" in customer_id:
        raise ProblemError(422, INVALID, f"customer_id: an id has 1 to {ID_BYTES_MAX} bytes and no NUL")
    return customer_id


def find_customer(model: ReadModel, customer_id: bytes) -> int:
    """Give a customer's place.

    Raises
    ------
    ProblemError
        When there is none, or when that cannot be known yet.
    """
    place = model.customers.find(customer_id)
    if place >= 0:
        return place
    require_ready(model)
    raise ProblemError(404, "unknown_customer", "no customer has this id")


def require_ready(model: ReadModel) -> None:
    """Raise a problem while rows are still being read."""
    if not model.is_ready:
        detail = "the state of the customers is still being read; try again in a moment"
        raise ProblemError(503, "still_reading", detail, {"Retry-After": "2"})


def read_time(name: str, text: str | None) -> int | None:
    """Read a time as milliseconds since 1970-01-01 UTC; None stays None."""
    if text is None:
        return None
    try:
        return parse_time_ms(f"{text}T00:00:00Z" if len(text) == len("2024-05-01") else text)
    except InvalidEventError:
        raise ProblemError(
            422, INVALID, f"{name}: write a time such as 2024-05-01T12:00:00Z, or a day such as 2024-05-01"
        ) from None


def read_axis(model: ReadModel, name: str) -> int:
    """Give an axis's place in the policy."""
    names = model.policy.axis_names
    if name not in names:
        raise ProblemError(422, INVALID, f"axis: the policy's axes are {', '.join(names)}")
    return names.index(name)


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """Which changes are asked for, as a request says it."""

    axis: str | None
    from_tier: str | None
    to_tier: str | None
    cause: str | None
    since: str | None
    until: str | None


def query_changes(
    axis: AxisQuery = None,
    from_tier: Annotated[
        str | None, Query(alias="from", max_length=40, description="Tier before; `none`: first rated. Needs `axis`.")
    ] = None,
    to_tier: Annotated[str | None, Query(alias="to", max_length=40, description="Tier after. Needs `axis`.")] = None,
    cause: Annotated[Literal["first_rated", "event", "time", "cut_point", "merge"] | None, Query()] = None,
    since: TimeQuery = None,
    until: TimeQuery = None,
) -> ChangeQuery:
    """Take the parameters of a request together."""
    return ChangeQuery(axis, from_tier, to_tier, cause, since, until)


def read_filter(model: ReadModel, query: ChangeQuery) -> ChangeFilter:
    """Read which changes are asked for."""
    axis = None if query.axis is None else read_axis(model, query.axis)
    pairs = (("from", query.from_tier), ("to", query.to_tier))
    from_tier, to_tier = (None if tier is None else _read_tier(model, name, tier, axis) for name, tier in pairs)
    since_ms, until_ms = read_time("since", query.since), read_time("until", query.until)
    return ChangeFilter(axis, from_tier, to_tier, query.cause, since_ms, until_ms)


def _read_tier(model: ReadModel, name: str, tier: str, axis: int | None) -> int:
    if axis is None:
        raise ProblemError(422, INVALID, f"{name}: tiers belong to an axis: give `axis` as well")
    tiers = model.policy.axes[axis].tiers
    if name == "from" and tier == NULL_TIER:
        return NO_TIER
    if tier not in tiers:
        raise ProblemError(422, INVALID, f"{name}: the tiers of this axis are {', '.join(tiers)}")
    return tiers.index(tier)


def write_cursor(layout: str, *values: float) -> str:
    """Write where a page ended, as text that a client hands back."""
    return base64.urlsafe_b64encode(struct.pack(layout, *values)).decode().rstrip("=")


def read_cursor(layout: str, cursor: str | None) -> tuple[float, ...] | None:
    """Read what `write_cursor` wrote; None stays None."""
    if cursor is None:
        return None
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return struct.unpack(layout, packed)
    except (binascii.Error, struct.error, ValueError):
        raise ProblemError(422, INVALID, "cursor: pass on `next` of the page before, or leave it out") from None
