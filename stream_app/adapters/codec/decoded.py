"""What comes of decoding records: accepted events as columns, and what was ignored or refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import EventBatch
from stream_app.domain.refusals import Refusal


class IgnoredReason(StrEnum):
    """Why a sound record brings no event; values are metric labels."""

    UNMAPPED_TYPE = "unmapped_type"
    """The policy does not map its type, or it is a Segment call other than `track` (S9)."""
    NO_CUSTOMER = "no_customer"
    """A Segment `track` call of a visitor who has not been identified."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that becomes a dead letter: its index in the batch, the reason code, and the reason in words."""

    index: int
    code: Refusal
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBatch:
    """Records of one batch, decoded; each record is accepted, ignored or refused.

    Parameters
    ----------
    batch
        The accepted events, in the order of their records.
    accepted_indices
        Shape `(n_accepted,)`, int64, increasing: the record of each accepted event.
    order_ids
        Length n_accepted: the order that an event belongs to, or None.
    types
        Length n_accepted: event types, the default type where a record has none.
    ignored_counts
        Ignored records by `IgnoredReason`; reasons that did not occur are missing.
    refused
        Refused records, in the order of their indices.
    """

    batch: EventBatch
    accepted_indices: NDArray[np.int64]
    order_ids: list[str | None]
    types: list[str]
    ignored_counts: dict[str, int]
    refused: list[RefusedRecord]
