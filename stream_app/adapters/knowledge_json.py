"""Knowledge as JSON: plain numbers that read back to the bit, so that it can travel and be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.domain.credibility import SpendPopulation
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.knowledge import AxisKnowledge, Knowledge, LearnedCount, LearnedProbability, Scoring
from stream_app.domain.linear_score import LinearWeights, Stack
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.purchase_model import PurchaseParameters

FORMAT_VERSION: Final = 5
"""Raised when what is written changes its meaning."""
_REBUILD: Final = "replay the log to build it anew"
_PROBABILITIES = ("buy", "growth")
_VECTORS = ("means", "deviations", "weights")
_AXIS_ARRAYS = ("cut_points", "promote_lines", "demote_lines", "term_means", "quantile_scores")


def encode_knowledge(knowledge: Knowledge) -> bytes:
    """Write knowledge as one JSON object, its content hash first; equal knowledge gives equal bytes."""
    document = {
        "format_version": FORMAT_VERSION,
        "content_hash": knowledge.content_hash,
        "version": knowledge.version,
        "provenance": {
            "policy_hash": knowledge.policy_hash,
            "time_reached_ms": knowledge.time_reached_ms,
            "snapshot_count": knowledge.snapshot_count,
            "outcome_count": knowledge.outcome_count,
        },
        "scoring": _encode_scoring(knowledge.scoring),
        "sample_limit": knowledge.sample_limit,
        "axes": {name: None if lines is None else _encode_axis(lines) for name, lines in knowledge.axes.items()},
    }
    return orjson.dumps(document)


def decode_knowledge(record: bytes, policy_hash: str | None = None) -> Knowledge:
    """Read what `encode_knowledge` wrote.

    Parameters
    ----------
    record
        The JSON object.
    policy_hash
        Content hash of the policy in use, under which it must have been made; None takes that of any policy.

    Returns
    -------
    Knowledge
        The same to the bit.

    Raises
    ------
    IncompatibleStateError
        Code `incompatible_knowledge`, when it is of another format version; `other_policy_knowledge`, of another
        policy; `damaged_knowledge`, when it is not what its content hash says; `unreadable_knowledge`, when it is no
        knowledge at all.
    """
    try:
        document = orjson.loads(record)
        _require_format(document.get("format_version"))
        knowledge, told_hash = _assemble(document), str(document["content_hash"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, SettingsError) as error:
        message = f"knowledge cannot be read ({type(error).__name__}: {error}); {_REBUILD}"
        raise IncompatibleStateError(message, code="unreadable_knowledge") from error
    if knowledge.content_hash != told_hash:
        message = (
            f"knowledge version {knowledge.version} has the content hash {knowledge.content_hash}, but says "
            f"{told_hash}: it was changed or damaged; take an unharmed copy, or {_REBUILD}"
        )
        raise IncompatibleStateError(message, code="damaged_knowledge")
    if policy_hash is not None:
        knowledge.require_policy(policy_hash)
    return knowledge


def _require_format(format_version: object) -> None:
    if format_version != FORMAT_VERSION:
        message = (
            f"knowledge of format version {format_version}, this software reads {FORMAT_VERSION}; go on with the "
            f"software that wrote it, or {_REBUILD}"
        )
        raise IncompatibleStateError(message, code="incompatible_knowledge")


def _assemble(document: Mapping[str, Any]) -> Knowledge:
    provenance = document["provenance"]
    return Knowledge(
        version=int(document["version"]),
        policy_hash=str(provenance["policy_hash"]),
        time_reached_ms=int(provenance["time_reached_ms"]),
        scoring=_decode_scoring(document["scoring"]),
        axes={name: None if axis is None else _decode_axis(axis) for name, axis in document["axes"].items()},
        sample_limit=int(document["sample_limit"]),
        snapshot_count=int(provenance["snapshot_count"]),
        outcome_count=int(provenance["outcome_count"]),
    )


def _encode_scoring(scoring: Scoring) -> dict[str, Any]:
    learned: dict[str, Any] = {}
    for name in _PROBABILITIES:
        model: LearnedProbability | None = getattr(scoring, name)
        learned[name] = None if model is None else _encode_weights(model.weights) | {"stack": astuple(model.stack)}
    count = scoring.count
    learned["count"] = None if count is None else _encode_weights(count.weights) | {"ratio": count.ratio}
    return learned | {
        "version": scoring.version,
        "weights": scoring.weights,
        "purchase": astuple(scoring.population.purchase),
        "spend": astuple(scoring.population.spend),
        "label_count": scoring.label_count,
        "past_share": scoring.past_share,
    }


def _decode_scoring(document: Mapping[str, Any]) -> Scoring:
    probabilities: dict[str, LearnedProbability | None] = dict.fromkeys(_PROBABILITIES)
    for name in _PROBABILITIES:
        model = document[name]
        if model is not None:
            probabilities[name] = LearnedProbability(_decode_weights(model), Stack(*map(float, model["stack"])))
    count = document["count"]
    return Scoring(
        version=int(document["version"]),
        weights={name: tuple(map(float, weights)) for name, weights in document["weights"].items()},
        population=PopulationModel(
            PurchaseParameters(*map(float, document["purchase"])), SpendPopulation(*map(float, document["spend"]))
        ),
        count=None if count is None else LearnedCount(_decode_weights(count), float(count["ratio"])),
        label_count=int(document["label_count"]),
        past_share=float(document["past_share"]),
        **probabilities,
    )


def _encode_weights(weights: LinearWeights) -> dict[str, Any]:
    return {name: getattr(weights, name).tolist() for name in _VECTORS} | {"intercept": weights.intercept}


def _decode_weights(document: Mapping[str, Any]) -> LinearWeights:
    vectors = {name: np.array(document[name], dtype=np.float64) for name in _VECTORS}
    return LinearWeights(**vectors, intercept=float(document["intercept"]))


def _encode_axis(lines: AxisKnowledge) -> dict[str, Any]:
    arrays = {name: getattr(lines, name).tolist() for name in _AXIS_ARRAYS}
    return arrays | {"rated_count": lines.rated_count}


def _decode_axis(document: Mapping[str, Any]) -> AxisKnowledge:
    arrays: dict[str, NDArray[np.float64]] = {name: np.array(document[name], dtype=np.float64) for name in _AXIS_ARRAYS}
    return AxisKnowledge(**arrays, rated_count=int(document["rated_count"]))
