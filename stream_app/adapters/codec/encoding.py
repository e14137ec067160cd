"""Segment changes to bytes: one JSON object each, with the same keys in the same order, the same to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import orjson

from stream_app.adapters.codec.wire_text import SegmentTexts, change_ids, format_times
from stream_app.domain.effects import Cause, Changes
from stream_app.domain.knowledge import Scoring
from stream_app.domain.policy import Policy
from stream_app.domain.reasons import Reason, Scale, Term, explain_columns

SCHEMA_URN = "urn:stream-app:schema:segment_changed:v1"
"""Schema of what is written, `schemas/segment_changed.v1.json`."""
EVENT_TYPE = "stream_app.segment_changed.v1"
"""CloudEvents type of a segment change."""

_CAUSE_NAMES = {cause.value: cause.name.lower() for cause in Cause}


class EventSources(Protocol):
    """Where the events of a batch come from."""

    def of_event(self, index: int) -> Mapping[str, object]:
        """Give the source of one event: `topic, partition, offset`, or `file, row`; index into the batch."""


class ChangeEncoder:
    """Writes segment changes as `segment_changed.v1`.

    Parameters
    ----------
    policy
        The policy in force; its content hash goes into every record.
    terms
        Axis name to the additive terms of its score, in the order of the columns of `Changes.term_values`.
    """

    def __init__(self, policy: Policy, terms: Mapping[str, Sequence[Term]]) -> None:
        self._policy = policy
        self._axes = [(axis.name, axis.tiers, tuple(terms[axis.name])) for axis in policy.axes]
        self._segments = SegmentTexts(policy)

    def encode(
        self,
        changes: Changes,
        *,
        knowledge_version: int,
        event_ids: Sequence[str],
        sources: EventSources,
        scoring: Scoring | None = None,
    ) -> list[bytes]:
        """Write changes, in their order.

        Parameters
        ----------
        changes
            What the engine told.
        knowledge_version
            The version in force when it did.
        event_ids
            Of the batch that `changes.event_indices` points into; empty for a tick.
        sources
            Of the same batch; a change that came in a tick has the tick as its source.
        scoring
            In force when it did; None: the terms have their own weights and count in the reporting currency.

        Returns
        -------
        list[bytes]
            Length n: JSON in UTF-8, without a line end.
        """
        if not len(changes):
            return []
        customer_ids = changes.customer_ids.tolist()
        sequences = changes.sequences.tolist()
        axes = changes.axes.tolist()
        dumps, all_axes, cause_names = orjson.dumps, self._axes, _CAUSE_NAMES
        policy_version = self._policy.content_hash
        columns = zip(
            change_ids(customer_ids, sequences),
            customer_ids,
            sequences,
            axes,
            changes.from_tiers.tolist(),
            changes.to_tiers.tolist(),
            self._segments.write(changes.segments),
            changes.scores.tolist(),
            np.round(changes.percentiles, 3).tolist(),
            changes.cut_points.tolist(),
            changes.causes.tolist(),
            _trigger_ids(changes, event_ids),
            self._reasons(changes, scoring),
            format_times(changes.effective_at_ms),
            changes.event_indices.tolist(),
            strict=True,
        )
        return [
            dumps(
                {
                    "change_id": change_id,
                    "customer_id": customer_id.decode(),
                    "sequence": sequence,
                    "axis": all_axes[axis][0],
                    "from_tier": all_axes[axis][1][from_tier] if from_tier >= 0 else None,
                    "to_tier": all_axes[axis][1][to_tier],
                    "segment": segment,
                    "score": score,
                    "percentile": percentile,
                    # A NaN is written as null.
                    "cut_point": cut_point,
                    "cause": cause_names[cause],
                    "trigger_event_id": trigger_event_id,
                    "reasons": reasons,
                    "treatment": treatment,
                    "effective_at": effective_at,
                    "policy_version": policy_version,
                    "knowledge_version": knowledge_version,
                    "source": sources.of_event(event_index) if event_index >= 0 else {"tick": effective_at},
                }
            )
            for (
                change_id,
                customer_id,
                sequence,
                axis,
                from_tier,
                to_tier,
                (segment, treatment),
                score,
                percentile,
                cut_point,
                cause,
                trigger_event_id,
                reasons,
                effective_at,
                event_index,
            ) in columns
        ]

    def _reasons(self, changes: Changes, scoring: Scoring | None) -> list[list[Reason]]:
        currency = self._policy.reporting_currency
        explained: list[list[Reason]] = [[] for _ in range(len(changes))]
        for axis, (name, _, terms) in enumerate(self._axes):
            scale = None
            if scoring is not None and name in scoring.weights:
                scale = Scale(scoring.weights[name], scoring.population.amount_unit)
            rows = np.flatnonzero(changes.axes == axis)
            own = (changes.term_values[rows], changes.contributions[rows])
            told = explain_columns(terms, *own, currency, scale)
            for row, reasons in zip(rows.tolist(), told, strict=True):
                explained[row] = reasons
        return explained


def _trigger_ids(changes: Changes, event_ids: Sequence[str]) -> list[str | None]:
    is_triggered = changes.is_triggered & (changes.event_indices >= 0)
    return [
        event_ids[index] if triggered else None
        for index, triggered in zip(changes.event_indices.tolist(), is_triggered.tolist(), strict=True)
    ]


def change_headers(changes: Changes, *, source: str) -> list[list[tuple[str, bytes]]]:
    """Give the CloudEvents attributes of changes as Kafka headers.

    Parameters
    ----------
    changes
        What the engine told.
    source
        URI reference of the application that tells it, as `urn:stream-app:shop`.

    Returns
    -------
    list[list[tuple[str, bytes]]]
        Length n: names and values.

    References
    ----------
    CloudEvents 1.0.2, Kafka protocol binding, section 3.2 (binary content mode).
    """
    fixed = [
        ("ce_specversion", b"1.0"),
        ("ce_type", EVENT_TYPE.encode()),
        ("ce_source", source.encode()),
        ("ce_dataschema", SCHEMA_URN.encode()),
        ("content-type", b"application/json"),
    ]
    ids = change_ids(changes.customer_ids.tolist(), changes.sequences.tolist())
    return [
        [("ce_id", change_id.encode()), ("ce_time", time.encode()), *fixed]
        for change_id, time in zip(ids, format_times(changes.effective_at_ms), strict=True)
    ]
