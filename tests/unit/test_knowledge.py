"""Knowledge travels as plain numbers: to the bit, with its content hash, and only to where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from stream_app.adapters.knowledge_json import FORMAT_VERSION, decode_knowledge, encode_knowledge
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.knowledge import QUANTILE_STEPS, AxisKnowledge, Knowledge
from stream_app.learning.learner import Learner
from tests.unit.test_growth_scores import scoring

POLICY = load_policy(None)
SIZE_MAX = 100_000
"""Bytes of encoded knowledge (issue: below 100 KB)."""


def lines(seed: int) -> AxisKnowledge:
    """Give lines of a rated population, no two numbers of which are round."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.random(2)) * 7
    grid = np.sort(random.random(QUANTILE_STEPS + 1)) * 9
    return AxisKnowledge(cuts, cuts + 0.1, cuts - 0.1, random.normal(size=5), grid, 123_456)


def knowledge(*names: str) -> Knowledge:
    axes: dict[str, AxisKnowledge | None] = {name: lines(place) for place, name in enumerate(names)}
    return Knowledge(9, POLICY.content_hash, 1_700_006_400_000, scoring(), axes, 2**31 + 1, 70_000, 5_000)


def test_knowledge_reads_back_to_the_bit_with_its_provenance() -> None:
    written = encode_knowledge(knowledge("value", "growth"))

    read = decode_knowledge(written, POLICY.content_hash)

    assert encode_knowledge(read) == written
    assert read.content_hash == knowledge("value", "growth").content_hash
    assert (read.policy_hash, read.time_reached_ms) == (POLICY.content_hash, 1_700_006_400_000)
    assert (read.snapshot_count, read.outcome_count) == (70_000, 5_000)
    for name in ("cut_points", "promote_lines", "demote_lines", "term_means", "quantile_scores"):
        before, after = getattr(lines(0), name), getattr(read.axes["value"], name)
        assert before.tobytes() == after.tobytes(), name


def test_knowledge_of_four_axes_and_every_model_is_below_a_hundred_kilobytes() -> None:
    assert len(encode_knowledge(knowledge("value", "growth", "attention", "satisfaction"))) < SIZE_MAX


def test_the_first_knowledge_reads_back_too() -> None:
    first = Learner(POLICY).knowledge
    read = decode_knowledge(encode_knowledge(first), POLICY.content_hash)
    assert read.content_hash == first.content_hash
    assert read.axes == {"value": None, "growth": None}


def next_up(known: Knowledge) -> Knowledge:
    axis = known.axes["value"]
    assert axis is not None
    return replace(known, axes=known.axes | {"value": replace(axis, cut_points=np.nextafter(axis.cut_points, 99.0))})


CHANGES: tuple[Callable[[Knowledge], Knowledge], ...] = (
    next_up,
    lambda known: replace(known, version=10),
    lambda known: replace(known, snapshot_count=70_001),
    lambda known: replace(known, scoring=replace(known.scoring, version=4)),
    lambda known: replace(known, scoring=replace(known.scoring, buy=None)),
    lambda known: replace(known, scoring=replace(known.scoring, past_share=0.5)),
    lambda known: replace(known, axes={"value": known.axes["value"], "growth": None}),
    lambda known: replace(known, axes={"value": known.axes["growth"], "growth": known.axes["value"]}),
    lambda known: replace(known, policy_hash="0" * 32),
)


@pytest.mark.parametrize("change", CHANGES)
def test_the_content_hash_tells_every_difference_apart(change: Callable[[Knowledge], Knowledge]) -> None:
    known = knowledge("value", "growth")
    assert change(known).content_hash != known.content_hash
    assert knowledge("value", "growth").content_hash == known.content_hash


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = orjson.loads(encode_knowledge(knowledge("value")))
    change(document)
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("record", "code", "action"),
    [
        (b"no JSON", "unreadable_knowledge", "replay the log"),
        (b"[]", "unreadable_knowledge", "replay the log"),
        (altered(lambda d: d.pop("scoring")), "unreadable_knowledge", "replay the log"),
        (altered(lambda d: d.pop("provenance")), "unreadable_knowledge", "replay the log"),
        (altered(lambda d: d.pop("format_version")), "incompatible_knowledge", "the software that wrote it"),
        (altered(lambda d: d.update(format_version=FORMAT_VERSION + 1)), "incompatible_knowledge", "go on with"),
        (altered(lambda d: d.update(version=8)), "damaged_knowledge", "take an unharmed copy"),
        (altered(lambda d: d["axes"]["value"]["cut_points"].append(9.0)), "damaged_knowledge", "unharmed copy"),
    ],
)
def test_what_is_no_knowledge_of_this_software_is_refused_with_what_to_do(
    record: bytes, code: str, action: str
) -> None:
    with pytest.raises(IncompatibleStateError, match=action) as caught:
        decode_knowledge(record)
    assert caught.value.code == code


def test_knowledge_of_another_policy_is_refused_with_what_to_do() -> None:
    other = POLICY.with_sweep_period(10_080)
    with pytest.raises(IncompatibleStateError, match="go back to the policy it was made under") as caught:
        decode_knowledge(encode_knowledge(knowledge("value")), other.content_hash)
    assert caught.value.code == "other_policy_knowledge"
