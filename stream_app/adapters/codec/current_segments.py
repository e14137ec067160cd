"""Current segments to bytes: what the compacted topic holds of each customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_text import SegmentTexts, format_times
from stream_app.domain.policy import Policy


@dataclass(frozen=True, slots=True, eq=False)
class CurrentSegments:
    """Customers and their segments, as columns.

    Parameters
    ----------
    customer_ids
        Shape `(n,)`, dtype `S<width>`.
    segments
        Shape `(n, n_axes)`, int8: tier indices, `UNRATED` or `PROSPECT`.
    scores
        Shape `(n, n_axes)`, float64; NaN where a customer has none.
    sequences
        Shape `(n,)`: number of the customer's last change, 0 before the first.
    as_of_ms
        Shape `(n,)`, int64: when the customer was last scored.
    """

    customer_ids: NDArray[np.bytes_]
    segments: NDArray[np.int8]
    scores: NDArray[np.float64]
    sequences: NDArray[np.uint32]
    as_of_ms: NDArray[np.int64]


class CurrentSegmentEncoder:
    """Writes current segments as `current_segment.v1`.

    Parameters
    ----------
    policy
        The policy in force.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._segments = SegmentTexts(policy)

    def encode(self, customers: CurrentSegments, *, knowledge_version: int) -> list[bytes]:
        """Write one JSON object for each customer, in their order, without a line end.

        Parameters
        ----------
        customers
            Shape `(n,)` each.
        knowledge_version
            The version in force.
        """
        axis_names = self._policy.axis_names
        policy_version = self._policy.content_hash
        columns = zip(
            customers.customer_ids.tolist(),
            self._segments.write(customers.segments),
            customers.scores.tolist(),
            customers.sequences.tolist(),
            format_times(customers.as_of_ms),
            strict=True,
        )
        return [
            orjson.dumps(
                {
                    "customer_id": customer_id.decode(),
                    "segment": orjson.Fragment(segment),
                    # A NaN is written as null.
                    "scores": dict(zip(axis_names, scores, strict=True)),
                    "sequence": sequence,
                    "treatment": orjson.Fragment(treatment),
                    "as_of": as_of,
                    "policy_version": policy_version,
                    "knowledge_version": knowledge_version,
                }
            )
            for customer_id, (segment, treatment), scores, sequence, as_of in columns
        ]


def encode_current_segments(policy: Policy, customers: CurrentSegments, *, knowledge_version: int) -> list[bytes]:
    """Write current segments once; who writes often keeps a `CurrentSegmentEncoder`."""
    return CurrentSegmentEncoder(policy).encode(customers, knowledge_version=knowledge_version)
