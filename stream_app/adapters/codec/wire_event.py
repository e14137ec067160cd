"""The typed form of a record, made to measure for a policy: only the fields that are read, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec

from stream_app.adapters.codec.single_event import SEGMENT_AMOUNT_PATHS
from stream_app.domain.policy import Policy

Path = tuple[str, ...]

_TEXT = str | None
_ID = str | int | None
_TIME = str | int | float | None
_NUMBER = float | None

_FIXED_FIELDS: dict[Path, Any] = {
    ("event_id",): _ID,
    ("customer_id",): _ID,
    ("type",): _TEXT,
    ("occurred_at",): _TIME,
    ("currency",): _TEXT,
    ("order_id",): _ID,
    ("messageId",): _ID,
    ("userId",): _ID,
    ("anonymousId",): _ID,
    ("event",): _TEXT,
    ("timestamp",): _TIME,
    ("properties", "currency"): _TEXT,
    ("properties", "order_id"): _ID,
}


@dataclass(frozen=True, slots=True)
class WireEvent:
    """How to decode a record into a struct, and how to reach a field of it.

    Parameters
    ----------
    decode
        Decodes JSON into a struct; absent and null fields are None. Raises msgspec's errors and `RecursionError`
        on anything that is not plain.
    getters
        Path of a field in the record to the function that takes it out of the struct.
    """

    decode: Callable[[bytes], Any]
    getters: dict[Path, Callable[[Any], Any]]


def wire_event_of(policy: Policy) -> WireEvent | None:
    """Make the typed form for the fields that a policy reads.

    Parameters
    ----------
    policy
        Names the paths of amounts and satisfactions.

    Returns
    -------
    WireEvent | None
        None when paths contradict each other, as an amount at `properties.total` and another at
        `properties.total.net`; such records are read one at a time.
    """
    types = dict(_FIXED_FIELDS)
    for path in (*SEGMENT_AMOUNT_PATHS, *number_paths(policy)):
        if types.setdefault(path, _NUMBER) is not _NUMBER:
            return None
    if any(path[:length] in types for path in types for length in range(1, len(path))):
        return None
    attributes: dict[Path, str] = {}
    struct = _struct_of((), types, attributes)
    decoder = msgspec.json.Decoder(struct)
    return WireEvent(decoder.decode, {path: attrgetter(name) for path, name in attributes.items()})


def number_paths(policy: Policy) -> list[Path]:
    """Give where a policy's amounts and satisfactions stand, each path once."""
    paths = (path for rule in policy.event_rules.values() for path in (rule.amount_path, rule.satisfaction_path))
    return list(dict.fromkeys(path for path in paths if path))


def _struct_of(prefix: Path, types: dict[Path, Any], attributes: dict[Path, str]) -> type[msgspec.Struct]:
    """Make the struct for all paths below a prefix, and note where each path ends up."""
    depth = len(prefix)
    keys = dict.fromkeys(path[depth] for path in types if path[:depth] == prefix and len(path) > depth)
    names: dict[str, str] = {}
    fields: list[tuple[str, Any, Any]] = []
    for place, key in enumerate(keys):
        # Keys of a shop's events need not be names that Python allows.
        name = f"field_{place}"
        names[name] = key
        path = (*prefix, key)
        if path in types:
            attributes[path] = name
            fields.append((name, types[path], None))
            continue
        nested = _struct_of(path, types, attributes)
        for below in attributes:
            if below[: depth + 1] == path:
                attributes[below] = f"{name}.{attributes[below]}"
        fields.append((name, nested, nested()))
    return msgspec.defstruct("_Record", fields, rename=names, gc=False, frozen=True)
