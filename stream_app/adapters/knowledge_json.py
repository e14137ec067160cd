"""Knowledge as JSON: plain numbers that read back to the bit, so that it can travel and be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.knowledge import AxisKnowledge, Knowledge, Scoring

_AXIS_ARRAYS = ("cut_points", "promote_lines", "demote_lines", "term_means", "quantile_scores")


def encode_knowledge(knowledge: Knowledge) -> bytes:
    """Write knowledge as one JSON object; equal knowledge gives equal bytes."""
    document = {
        "version": knowledge.version,
        "policy_hash": knowledge.policy_hash,
        "time_reached_ms": knowledge.time_reached_ms,
        "scoring": {"version": knowledge.scoring.version, "weights": knowledge.scoring.weights},
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
        scoring = document["scoring"]
        return Knowledge(
            version=int(document["version"]),
            policy_hash=str(document["policy_hash"]),
            time_reached_ms=int(document["time_reached_ms"]),
            scoring=Scoring(
                version=int(scoring["version"]),
                weights={name: tuple(map(float, weights)) for name, weights in scoring["weights"].items()},
            ),
            axes={name: None if axis is None else _decode_axis(axis) for name, axis in document["axes"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"knowledge cannot be read ({type(error).__name__}: {error}); replay the log to build it anew"
        raise IncompatibleStateError(message, code="unreadable_knowledge") from error


def _encode_axis(lines: AxisKnowledge) -> dict[str, Any]:
    arrays = {name: getattr(lines, name).tolist() for name in _AXIS_ARRAYS}
    return arrays | {"rated_count": lines.rated_count}


def _decode_axis(document: Mapping[str, Any]) -> AxisKnowledge:
    arrays: dict[str, NDArray[np.float64]] = {name: np.array(document[name], dtype=np.float64) for name in _AXIS_ARRAYS}
    return AxisKnowledge(**arrays, rated_count=int(document["rated_count"]))
