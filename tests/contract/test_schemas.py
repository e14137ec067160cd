"""Schemas say everything a reader in another language needs, and agree with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stream_app.domain.effects import Cause
from stream_app.domain.policy_axes import CHANNELS
from stream_app.domain.reasons import REASONS_MAX
from stream_app.domain.refusals import Refusal
from tests.contract.schemas import SCHEMA_FOLDER, SCHEMA_NAMES, load_schema, track_validator, validator_of


def objects_in(schema: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema inside of a schema, examples left out."""
    if isinstance(schema, dict):
        yield path, schema
        for key, inner in schema.items():
            if key not in ("examples", "enum", "const", "required"):
                yield from objects_in(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for place, inner in enumerate(schema):
            yield from objects_in(inner, f"{path}/{place}")


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_a_schema_is_itself_valid(name: str) -> None:
    Draft202012Validator.check_schema(load_schema(name))
    assert load_schema(name)["$id"] == f"urn:stream-app:schema:{name}:v1"


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_the_examples_of_a_schema_are_valid(name: str) -> None:
    examples = load_schema(name)["examples"]
    assert len(examples) >= 2
    for example in examples:
        validator_of(name).validate(example)


def test_the_examples_of_track_calls_are_valid() -> None:
    for example in load_schema("customer_event")["$defs"]["segment_track"]["examples"]:
        track_validator().validate(example)


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_every_field_is_described(name: str) -> None:
    bare = [
        f"{path}/properties/{field}"
        for path, schema in objects_in(load_schema(name))
        for field, inner in schema.get("properties", {}).items()
        if isinstance(inner, dict) and not path.endswith("/properties") and len(inner.get("description", "")) < 4
    ]
    assert bare == []


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_every_object_says_whether_it_may_hold_more(name: str) -> None:
    silent = [
        path
        for path, schema in objects_in(load_schema(name))
        if "properties" in schema
        and isinstance(schema.get("type"), str | list)
        and "object" in schema["type"]
        and "additionalProperties" not in schema
    ]
    assert silent == []


def test_reason_codes_in_the_schema_are_those_of_the_code() -> None:
    assert load_schema("dead_letter")["properties"]["reason"]["enum"] == [code.value for code in Refusal]


def test_causes_in_the_schema_are_those_of_the_code() -> None:
    assert load_schema("segment_changed")["properties"]["cause"]["enum"] == [cause.name.lower() for cause in Cause]


def test_limits_and_channels_in_the_schema_are_those_of_the_code() -> None:
    fields = load_schema("segment_changed")["properties"]
    assert fields["reasons"]["maxItems"] == REASONS_MAX
    assert fields["treatment"]["properties"]["channel"]["enum"] == list(CHANNELS)


def test_all_fields_of_a_segment_change_are_required() -> None:
    for name in ("segment_changed", "current_segment"):
        assert load_schema(name)["required"] == list(load_schema(name)["properties"])


def test_references_of_the_channel_description_lead_somewhere() -> None:
    text = (SCHEMA_FOLDER / "asyncapi.yaml").read_text(encoding="utf-8")
    references = re.findall(r"\$ref: '([^']+)'", text)
    files = {reference.split("#")[0] for reference in references if reference.startswith("./")}
    assert files == {f"./{name}.v1.json" for name in SCHEMA_NAMES}
    for reference in references:
        file_name, _, pointer = reference.partition("#")
        if file_name:
            target = json.loads((SCHEMA_FOLDER / file_name).read_text(encoding="utf-8"))
            for key in filter(None, pointer.split("/")):
                target = target[key]
        else:
            # Keys of a YAML mapping stand at two spaces for each level.
            depth, key = pointer.count("/") - 1, pointer.rsplit("/", 1)[1]
            assert re.search(rf"^{'  ' * depth}{re.escape(key)}:$", text, re.MULTILINE), reference
