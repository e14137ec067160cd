"""One record at a time: the exact rules of the wire contract, with the exact reason of a refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from stream_app.adapters.codec.decoded import IgnoredReason
from stream_app.adapters.event_rules import (
    check_id,
    classify,
    convert_amount,
    encode_text,
    parse_time_ms,
    refuse,
    scale_satisfaction,
    shown,
)
from stream_app.domain.events import MS_PER_SECOND, Family
from stream_app.domain.policy import EventRule, Policy
from stream_app.domain.refusals import Refusal

RECORD_BYTES_MAX = 1 << 20
"""Longest record in bytes; longer ones are refused unread."""

SEGMENT_CALL_TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})
"""Types of calls of the Segment tracking specification."""
SEGMENT_MARKS = ("messageId", "userId", "anonymousId", "event", "timestamp")
"""Fields of which a Segment call has at least one."""
SEGMENT_AMOUNT_PATHS = (("properties", "revenue"), ("properties", "total"))
"""Where a `track` call has its amount when it is not where the policy says."""

_INTEGER_DIGITS_MAX = 600
"""Python can be told to refuse integers of more than 640 digits as text; longer ones are infinite as floats."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a kind of record has its fields, as paths.

    Parameters
    ----------
    event_id, customer_id, type, time, order_id
        Field names, order ids as paths.
    spare_amount_paths
        Where else to look for an amount that is not at the policy's path.
    """

    event_id: str
    customer_id: str
    type: str
    time: str
    order_id_paths: tuple[tuple[str, ...], ...]
    spare_amount_paths: tuple[tuple[str, ...], ...]


NATIVE = Shape("event_id", "customer_id", "type", "occurred_at", (("order_id",),), ())
TRACK = Shape(
    "messageId", "userId", "event", "timestamp", (("order_id",), ("properties", "order_id")), SEGMENT_AMOUNT_PATHS
)


@dataclass(frozen=True, slots=True)
class SingleEvent:
    """One accepted event; fields as in `EventBatch`."""

    customer_id: str
    event_id: str
    type: str
    time_ms: int
    family: Family
    amount: float
    satisfaction: float
    order_id: str | None


def read_record(record: bytes, policy: Policy, appended_ms: int) -> SingleEvent | IgnoredReason:
    """Read one record.

    Parameters
    ----------
    record
        JSON: a native event or a Segment call.
    policy
        What event types mean.
    appended_ms
        When the record was appended, in milliseconds since 1970-01-01 UTC.

    Returns
    -------
    SingleEvent | IgnoredReason
        The event, or why there is none.

    Raises
    ------
    InvalidEventError
        With the code of the first fault found: record, type, customer, id, time, order, amount, satisfaction.
    """
    document = parse_object(record)
    shape = NATIVE
    if is_segment_call(document):
        if document["type"] != "track":
            return IgnoredReason.UNMAPPED_TYPE
        shape = TRACK
    event_type = _text(document.get(shape.type), shape.type)
    if event_type is None:
        if shape is TRACK:
            _refuse_missing(shape.type)
        event_type = policy.default_event_type
    rule = policy.event_rules.get(event_type)
    if rule is None:
        return IgnoredReason.UNMAPPED_TYPE
    customer_id = _id_text(document.get(shape.customer_id), shape.customer_id)
    if customer_id is None:
        if shape is TRACK:
            return IgnoredReason.NO_CUSTOMER
        _refuse_missing(shape.customer_id)
    check_id(customer_id, field=shape.customer_id)
    event_id = _id_text(document.get(shape.event_id), shape.event_id)
    if event_id is None:
        _refuse_missing(shape.event_id)
    check_id(event_id, field=shape.event_id)
    time_ms = _time_ms(document, shape, policy, appended_ms)
    _properties(document)
    order_id = _order_id(document, shape)
    family, amount = _amount(document, rule, shape, policy)
    satisfaction = _satisfaction(document, rule)
    return SingleEvent(customer_id, event_id, event_type, time_ms, family, amount, satisfaction, order_id)


def read_customer_id(record: bytes) -> str:
    """Read whose record it is, whatever its type and whatever else is wrong with it.

    Parameters
    ----------
    record
        JSON: a native event or a Segment call.

    Returns
    -------
    str
        The customer id, the same as of an accepted event.

    Raises
    ------
    InvalidEventError
        When the record cannot be read, or names no customer by an id that is allowed.
    """
    document = parse_object(record)
    shape = TRACK if is_segment_call(document) else NATIVE
    customer_id = _id_text(document.get(shape.customer_id), shape.customer_id)
    if customer_id is None:
        _refuse_missing(shape.customer_id)
    check_id(customer_id, field=shape.customer_id)
    return customer_id


def parse_object(record: bytes) -> Mapping[str, Any]:
    """Parse a record that must be one JSON object.

    Raises
    ------
    InvalidEventError
        `RECORD_TOO_LARGE`, `INVALID_UTF8` or `MALFORMED_RECORD`.
    """
    if len(record) > RECORD_BYTES_MAX:
        refuse(
            Refusal.RECORD_TOO_LARGE,
            f"record of {len(record)} bytes, must be at most {RECORD_BYTES_MAX}; send one event in each record",
        )
    try:
        text = record.decode()
    except UnicodeDecodeError as error:
        refuse(Refusal.INVALID_UTF8, f"byte {error.start} of the record is no UTF-8; write the record as UTF-8")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        refuse(
            Refusal.MALFORMED_RECORD,
            f"record is no JSON at character {error.pos} ({error.msg}); send one JSON object in each record",
        )
    except RecursionError:
        refuse(Refusal.MALFORMED_RECORD, "record is nested too deeply; send one flat JSON object in each record")
    if not isinstance(document, dict):
        refuse(
            Refusal.MALFORMED_RECORD,
            f"record is a JSON {type(document).__name__}, must be an object; send one JSON object in each record",
        )
    return document


def _refuse_constant(literal: str) -> NoReturn:
    refuse(Refusal.MALFORMED_RECORD, f"record holds {literal}, which is no JSON; write finite numbers or null")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else float(digits)


def is_segment_call(document: Mapping[str, Any]) -> bool:
    """Tell a Segment call from a native event, whose type may have the name of a call."""
    kind = document.get("type")
    return (
        isinstance(kind, str)
        and kind in SEGMENT_CALL_TYPES
        and document.get("event_id") is None
        and document.get("customer_id") is None
        and any(document.get(mark) is not None for mark in SEGMENT_MARKS)
    )


def _refuse_missing(field: str) -> NoReturn:
    refuse(Refusal.MISSING_FIELD, f"{field} is missing, null or empty, must be given; send the field")


def _refuse_type(field: str, value: object, wanted: str) -> NoReturn:
    refuse(Refusal.WRONG_TYPE, f"{field} = {shown(value)}, must be {wanted}; mend the event's source")


def _text(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _refuse_type(field, value, "text")
    encode_text(value, field=field)
    return value


def _id_text(value: object, field: str) -> str | None:
    """Give an id as text; an integer is its decimal text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        _refuse_type(field, value, "text or an integer")
    return value or None


def _time_ms(document: Mapping[str, Any], shape: Shape, policy: Policy, appended_ms: int) -> int:
    value = document.get(shape.time)
    if value is None:
        _refuse_missing(shape.time)
    time_ms = parse_time_ms(value)
    if time_ms > appended_ms + policy.future_skew_max_ms:
        ahead_seconds = (time_ms - appended_ms) / MS_PER_SECOND
        refuse(
            Refusal.TIME_IN_FUTURE,
            f"{shape.time} = {shown(value)} is {ahead_seconds:.0f} s ahead of when it was appended, must be at most "
            f"{policy.future_skew_max_ms / MS_PER_SECOND:.0f} s; set the clock of the event's source",
        )
    return time_ms


def _properties(document: Mapping[str, Any]) -> None:
    value = document.get("properties")
    if value is not None and not isinstance(value, dict):
        _refuse_type("properties", value, "an object")


def _order_id(document: Mapping[str, Any], shape: Shape) -> str | None:
    for path in shape.order_id_paths:
        field = ".".join(path)
        order_id = _id_text(value_at(document, path), field)
        if order_id is not None:
            check_id(order_id, field=field)
            return order_id
    return None


def value_at(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Follow a path of keys; None when there is nothing at its end."""
    value: Any = document
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _number_at(document: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value = value_at(document, path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse_type(".".join(path), value, "a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _amount(document: Mapping[str, Any], rule: EventRule, shape: Shape, policy: Policy) -> tuple[Family, float]:
    if rule.fixed_value is not None:
        return classify(rule.family, rule.fixed_value)
    if rule.family not in (Family.PURCHASE, Family.REFUND):
        return rule.family, 0.0
    own_paths = () if rule.amount_path is None else (rule.amount_path,)
    for path in own_paths + shape.spare_amount_paths:
        amount = _number_at(document, path)
        if amount is not None:
            converted = convert_amount(amount, _currency(document), policy)
            return classify(rule.family, converted)
    _refuse_missing(".".join(rule.amount_path or ("amount",)))


def _currency(document: Mapping[str, Any]) -> str | None:
    own = _text(document.get("currency"), "currency")
    return own or _text(value_at(document, ("properties", "currency")), "properties.currency")


def _satisfaction(document: Mapping[str, Any], rule: EventRule) -> float:
    if rule.satisfaction_path is None:
        return math.nan
    value = _number_at(document, rule.satisfaction_path)
    return math.nan if value is None else scale_satisfaction(value, rule)
