"""Knowledge as JSON: plain numbers that read back to the bit, so that it can travel and be stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.domain.credibility import SpendPopulation
from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.knowledge import AxisKnowledge, Knowledge, LearnedCount, LearnedProbability, Scoring
from stream_app.domain.linear_score import LinearWeights, Stack
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.purchase_model import PurchaseParameters

_PROBABILITIES = ("buy", "growth")
_VECTORS = ("means", "deviations", "weights")
_AXIS_ARRAYS = ("cut_points", "promote_lines", "demote_lines", "term_means", "quantile_scores")


def encode_knowledge(knowledge: Knowledge) -> bytes:
    """Write knowledge as one JSON object; equal knowledge gives equal bytes."""
    document = {
        "version": knowledge.version,
        "policy_hash": knowledge.policy_hash,
        "time_reached_ms": knowledge.time_reached_ms,
        "scoring": _encode_scoring(knowledge.scoring),
        "sample_limit": knowledge.sample_limit,
        "axes": {name: None if lines is None else _encode_axis(lines) for name, lines in knowledge.axes.items()},
    }
    return orjson.dumps(document)


def decode_knowledge(record: bytes) -> Knowledge:
    """Read what `encode_knowledge` wrote.

    Parameters
    ----------
    record
        The JSON object.

    Returns
    -------
    Knowledge

    Raises
    ------
    IncompatibleStateError
        When it is not such an object.
    """
    try:
        document = orjson.loads(record)
        return Knowledge(
            version=int(document["version"]),
            policy_hash=str(document["policy_hash"]),
            time_reached_ms=int(document["time_reached_ms"]),
            scoring=_decode_scoring(document["scoring"]),
            axes={name: None if axis is None else _decode_axis(axis) for name, axis in document["axes"].items()},
            sample_limit=int(document["sample_limit"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, SettingsError) as error:
        message = f"knowledge cannot be read ({type(error).__name__}: {error}); replay the log to build it anew"
        raise IncompatibleStateError(message, code="unreadable_knowledge") from error


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
