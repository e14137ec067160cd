"""The wire contracts, read from `schemas/`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA_FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMA_NAMES = ("customer_event", "segment_changed", "current_segment", "dead_letter")


@cache
def load_schema(name: str) -> Any:
    """Read a schema by its name without version."""
    return json.loads((SCHEMA_FOLDER / f"{name}.v1.json").read_text(encoding="utf-8"))


@cache
def validator_of(name: str) -> Draft202012Validator:
    """Give the validator of a schema; it also checks what the schema says of content."""
    return Draft202012Validator(load_schema(name))


@cache
def track_validator() -> Draft202012Validator:
    """Give the validator of Segment track calls."""
    return Draft202012Validator(load_schema("customer_event")["$defs"]["segment_track"])
