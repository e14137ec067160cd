"""Segment changes to bytes: one JSON object each, with the same keys in the same order, the same to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import orjson

from stream_app.adapters.codec.wire_text import SegmentTexts, change_ids, format_times, write_numbers
from stream_app.domain.effects import Cause, Changes
from stream_app.domain.knowledge import Scoring
from stream_app.domain.policy import Policy
from stream_app.domain.reasons import Explanations, Scale, Term, explanations

SCHEMA_URN = "urn:stream-app:schema:segment_changed:v1"
"""Schema of what is written, `schemas/segment_changed.v1.json`."""
EVENT_TYPE = "stream_app.segment_changed.v1"
"""CloudEvents type of a segment change."""

_CAUSES = {cause.value: orjson.dumps(cause.name.lower()) for cause in Cause}

# Filling in bytes takes two thirds of the time of writing a dict for each change. What is the same for all changes of a
# call is filled in first; the doubled signs are filled in for each.
_LINE = (
    b'{"change_id":"%%b","customer_id":%%b,"sequence":%%d,"axis":%%b,"from_tier":%%b,"to_tier":%%b,"segment":%%b,'
    b'"score":%%b,"percentile":%%b,"cut_point":%%b,"cause":%%b,"trigger_event_id":%%b,"reasons":%%b,"treatment":%%b,'
    b'"effective_at":"%%b","policy_version":"%b","knowledge_version":%d,"source":%%b}'
)


class _AxisNames(NamedTuple):
    """Names of an axis and its tiers as JSON."""

    axis: bytes
    tiers: dict[int, bytes]


class EventSources(Protocol):
    """Where the events of a batch come from."""

    def of_event(self, index: int) -> Mapping[str, object]:
        """Give the source of one event: `topic, partition, offset`, or `file, row`; index into the batch."""


@runtime_checkable
class LazyIds(Protocol):
    """Event ids that are cheaper to get together than one by one."""

    def pick(self, indices: Sequence[int]) -> list[str]:
        """Give several ids."""


@runtime_checkable
class WrittenSources(Protocol):
    """Sources that are cheaper to write together than one by one."""

    def write(self, indices: Sequence[int]) -> list[bytes]:
        """Write the sources of several events as JSON."""


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
        self._terms = [tuple(terms[axis.name]) for axis in policy.axes]
        self._names = [
            _AxisNames(orjson.dumps(axis.name), {place: orjson.dumps(tier) for place, tier in enumerate(axis.tiers)})
            for axis in policy.axes
        ]
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
        times = [time.encode() for time in format_times(changes.effective_at_ms)]
        segments, treatments = zip(*self._segments.write(changes.segments), strict=True)
        columns = zip(
            map(str.encode, change_ids(changes.customer_ids.tolist(), changes.sequences.tolist())),
            [orjson.dumps(customer_id.decode()) for customer_id in changes.customer_ids.tolist()],
            changes.sequences.tolist(),
            *self._tiers(changes),
            segments,
            write_numbers(changes.scores),
            write_numbers(np.round(changes.percentiles, 3)),
            write_numbers(changes.cut_points),
            map(_CAUSES.__getitem__, changes.causes.tolist()),
            map(orjson.dumps, _trigger_ids(changes, event_ids)),
            self._reasons(changes, scoring),
            treatments,
            times,
            _sources(changes, times, sources),
            strict=True,
        )
        line = _LINE % (self._policy.content_hash.encode(), knowledge_version)
        return [line % values for values in columns]

    def _tiers(self, changes: Changes) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Write the axis and the tiers before and after each change."""
        names = [self._names[axis] for axis in changes.axes.tolist()]
        return (
            [own.axis for own in names],
            [own.tiers.get(tier, b"null") for own, tier in zip(names, changes.from_tiers.tolist(), strict=True)],
            [own.tiers[tier] for own, tier in zip(names, changes.to_tiers.tolist(), strict=True)],
        )

    def _reasons(self, changes: Changes, scoring: Scoring | None) -> list[bytes]:
        currency = self._policy.reporting_currency
        written = [b"[]"] * len(changes)
        for axis, (own_axis, terms) in enumerate(zip(self._policy.axes, self._terms, strict=True)):
            rows = np.flatnonzero(changes.axes == axis)
            if not len(rows) or not terms:
                continue
            scale = None
            if scoring is not None and own_axis.name in scoring.weights:
                scale = Scale(scoring.weights[own_axis.name], scoring.population.amount_unit)
            told = explanations(terms, changes.term_values[rows], changes.contributions[rows], currency, scale)
            for row, reasons in zip(rows.tolist(), _write_reasons(terms, told), strict=True):
                written[row] = reasons
        return written


def _write_reasons(terms: Sequence[Term], told: Explanations) -> list[bytes]:
    """Write each score's reasons; term by term, which takes half as long as a dict for each."""
    columns = []
    for place, (term, texts) in enumerate(zip(terms, told.texts, strict=True)):
        begin = b'{"term":%b,"contribution":' % orjson.dumps(term.name)
        gains = write_numbers(np.ascontiguousarray(told.gains[:, place]))
        columns.append(
            [b'%b%b,"text":%b}' % (begin, gain, orjson.dumps(text)) for gain, text in zip(gains, texts, strict=True)]
        )
    return [
        b"[%b]" % b",".join([own[place] for place in order])
        for own, order in zip(zip(*columns, strict=True), told.orders, strict=True)
    ]


def _sources(changes: Changes, times: Sequence[bytes], sources: EventSources) -> list[bytes]:
    """Write where each change comes from: an event of the batch, or the tick of its time."""
    written = [b'{"tick":"%b"}' % time for time in times]
    places = np.flatnonzero(changes.event_indices >= 0).tolist()
    indices = changes.event_indices[places].tolist()
    if isinstance(sources, WrittenSources):
        own = sources.write(indices)
    else:
        own = [orjson.dumps(sources.of_event(index)) for index in indices]
    for place, source in zip(places, own, strict=True):
        written[place] = source
    return written


def _trigger_ids(changes: Changes, event_ids: Sequence[str]) -> list[str | None]:
    told: list[str | None] = [None] * len(changes)
    places = np.flatnonzero(changes.is_triggered & (changes.event_indices >= 0)).tolist()
    indices = changes.event_indices[places].tolist()
    picked = event_ids.pick(indices) if isinstance(event_ids, LazyIds) else [event_ids[index] for index in indices]
    for place, event_id in zip(places, picked, strict=True):
        told[place] = event_id
    return told


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
