"""Current segments to bytes: what the compacted topic holds of each customer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_text import KeptPieces, write_numbers, write_segment, write_texts, write_times
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
        names = [orjson.dumps(name) for name in policy.axis_names]
        self._before_scores = [b"," + name + b":" for name in names]
        self._before_scores[0] = names[0] + b":"
        self._pieces = KeptPieces(self._write_pieces)

    def _write_pieces(self, states: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Write what stands before and behind scores and sequence of a customer of a segment."""
        segment, treatment = write_segment(self._policy, states)
        return b',"segment":%b,"scores":{' % segment, b',"treatment":%b,"as_of":"' % treatment

    def encode(self, customers: CurrentSegments, *, knowledge_version: int) -> list[bytes]:
        """Write one JSON object for each customer, in their order, without a line end.

        Parameters
        ----------
        customers
            Shape `(n,)` each.
        knowledge_version
            The version in force.
        """
        if not len(customers.customer_ids):
            return []
        segments, treatments = self._pieces.columns(customers.segments)
        axis_count = len(self._before_scores)
        # A NaN is written as null.
        scores = write_numbers(customers.scores.reshape(-1))
        columns = (
            repeat(b'{"customer_id":'),
            write_texts(customers.customer_ids.tolist()),
            segments,
            *chain.from_iterable(
                (repeat(before), scores[axis::axis_count]) for axis, before in enumerate(self._before_scores)
            ),
            repeat(b'},"sequence":'),
            write_numbers(customers.sequences),
            treatments,
            write_times(customers.as_of_ms),
            repeat(
                b'","policy_version":"%b","knowledge_version":%d}'
                % (self._policy.content_hash.encode(), knowledge_version)
            ),
        )
        return [*map(b"".join, zip(*columns, strict=False))]


def encode_current_segments(policy: Policy, customers: CurrentSegments, *, knowledge_version: int) -> list[bytes]:
    """Write current segments once; who writes often keeps a `CurrentSegmentEncoder`."""
    return CurrentSegmentEncoder(policy).encode(customers, knowledge_version=knowledge_version)
