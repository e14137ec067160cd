"""What shards and the learner tell each other: records of `<app>-learner-input` and `<app>-knowledge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.knowledge_json import decode_knowledge, encode_knowledge
from stream_app.adapters.log.port import Headers, LogRecord
from stream_app.adapters.log.topics import RECORD_BYTES_MAX
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.population import BUCKET_COUNT, AxisSketch, PopulationSketch
from stream_app.domain.rows import LAYOUT_VERSION
from stream_app.domain.snapshots import Snapshots

FORMAT_VERSION = 1


class SketchPurpose(Enum):
    """Why a shard sends a sketch of its population."""

    DAY = "day"
    """The first tick of a UTC day has been applied."""
    FULL = "full"
    """The learner asked for everybody to be scored under the scoring in force."""
    DRY_RUN = "dry_run"
    """The learner asked for everybody to be scored under a candidate scoring."""


class _WireAxis(msgspec.Struct, array_like=True):
    buckets: bytes
    counts: bytes
    term_sums: bytes
    term_count: int


class _WireSketch(msgspec.Struct, tag="sketch"):
    format_version: int
    purpose: str
    partition: int
    day: int
    time_ms: int
    scoring_version: int
    axes: list[_WireAxis]


class _WireSnapshots(msgspec.Struct, tag="snapshots"):
    format_version: int
    layout_version: int
    partition: int
    times_ms: bytes
    ids: list[str]
    rows: bytes


class _WireForgetting(msgspec.Struct, tag="forget"):
    format_version: int
    partition: int
    customer_id: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_WireSketch | _WireSnapshots | _WireForgetting)


@dataclass(frozen=True, slots=True, eq=False)
class SketchMessage:
    """A shard's population at a moment.

    Parameters
    ----------
    purpose
        Why it is sent.
    partition
        Whose.
    day
        The UTC day that is renewed, in days since 1970-01-01.
    time_ms
        The tick it was taken after, in milliseconds since 1970-01-01 UTC.
    sketch
        The population.
    """

    purpose: SketchPurpose
    partition: int
    day: int
    time_ms: int
    sketch: PopulationSketch


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotsMessage:
    """Snapshots of a shard's customers."""

    partition: int
    snapshots: Snapshots


@dataclass(frozen=True, slots=True)
class ForgettingMessage:
    """A customer of a shard was erased."""

    partition: int
    customer_id: bytes


def encode_forgetting(partition: int, customer_id: bytes) -> bytes:
    """Write that a customer was erased."""
    return _encoder.encode(_WireForgetting(FORMAT_VERSION, partition, customer_id))


def encode_sketch(message: SketchMessage) -> bytes:
    """Write a sketch; of a histogram only the buckets that hold somebody."""
    axes = []
    for axis in message.sketch.axes:
        buckets = np.flatnonzero(axis.histogram)
        axes.append(
            _WireAxis(
                buckets.astype("<u2").tobytes(),
                axis.histogram[buckets].astype("<i8").tobytes(),
                axis.term_sums.astype("<i8").tobytes(),
                int(axis.term_count),
            )
        )
    return _encoder.encode(
        _WireSketch(
            FORMAT_VERSION,
            message.purpose.value,
            message.partition,
            message.day,
            message.time_ms,
            message.sketch.scoring_version,
            axes,
        )
    )


def encode_snapshots(partition: int, snapshots: Snapshots) -> list[bytes]:
    """Write snapshots, in records that every broker takes."""
    if not len(snapshots):
        return []
    row_bytes = snapshots.rows.dtype.itemsize + 8 + snapshots.customer_ids.dtype.itemsize + 3
    step = max(RECORD_BYTES_MAX // row_bytes, 1)
    return [
        _encoder.encode(
            _WireSnapshots(
                FORMAT_VERSION,
                LAYOUT_VERSION,
                partition,
                snapshots.times_ms[start : start + step].astype("<i8").tobytes(),
                [customer_id.decode() for customer_id in snapshots.customer_ids[start : start + step].tolist()],
                snapshots.rows[start : start + step].tobytes(),
            )
        )
        for start in range(0, len(snapshots), step)
    ]


def decode_input(record: bytes, row_type: np.dtype[np.void]) -> SketchMessage | SnapshotsMessage | ForgettingMessage:
    """Read a record of `<app>-learner-input`.

    Parameters
    ----------
    record
        What one of the functions above wrote.
    row_type
        Layout of the rows in snapshots.

    Raises
    ------
    IncompatibleStateError
        When it is of another version or layout, or no such record.
    """
    try:
        wire = _decoder.decode(record)
        _require("format", wire.format_version, FORMAT_VERSION)
        if isinstance(wire, _WireSketch):
            sketch = PopulationSketch(wire.scoring_version, tuple(map(_axis, wire.axes)))
            return SketchMessage(SketchPurpose(wire.purpose), wire.partition, wire.day, wire.time_ms, sketch)
        if isinstance(wire, _WireForgetting):
            return ForgettingMessage(wire.partition, wire.customer_id)
        _require("row layout", wire.layout_version, LAYOUT_VERSION)
        times_ms = np.frombuffer(wire.times_ms, dtype="<i8").astype(np.int64)
        rows: NDArray[np.void] = np.frombuffer(wire.rows, dtype=row_type)
        return SnapshotsMessage(wire.partition, Snapshots(times_ms, pack_ids(wire.ids), rows))
    except (msgspec.MsgspecError, ValueError) as error:
        message = f"a record of the learner's input cannot be read ({error}); was the topic written to by others?"
        raise IncompatibleStateError(message, code="unreadable_learner_input") from error


def _axis(wire: _WireAxis) -> AxisSketch:
    histogram = np.zeros(BUCKET_COUNT, dtype=np.int64)
    histogram[np.frombuffer(wire.buckets, dtype="<u2")] = np.frombuffer(wire.counts, dtype="<i8")
    term_sums = np.frombuffer(wire.term_sums, dtype="<i8").astype(np.int64)
    return AxisSketch(histogram, term_sums, wire.term_count)


def _require(what: str, found: int, expected: int) -> None:
    if found != expected:
        message = (
            f"a record of the learner's input has {what} {found}, this software reads {expected}: "
            "let all workers run the same version, or finish with the old one first"
        )
        raise IncompatibleStateError(message, code="incompatible_learner_input")


class NoticeKind(Enum):
    """What a record of `<app>-knowledge` is."""

    RENEWAL = "renewal"
    """Knowledge with new lines for the scoring in force; it holds for all that follows."""
    SWITCH = "switch"
    """Knowledge with a new scoring and its lines; it comes into force at the next tick."""
    ASK_FULL = "ask_full"
    """Every shard is to score everybody under the scoring in force and send the sketch."""
    ASK_DRY_RUN = "ask_dry_run"
    """The same under the candidate scoring that the record holds."""
    CLOSED = "closed"
    """All of a day's knowledge has been published."""
    QUALITY = "quality"
    """How good the predictions were whose outcomes came; JSON."""


@dataclass(frozen=True, slots=True, eq=False)
class Notice:
    """Something that the learner tells everybody.

    Parameters
    ----------
    kind
        What it is.
    day
        The UTC day that is renewed, in days since 1970-01-01.
    time_ms
        The tick it was made at.
    version
        Version of the knowledge in it; 0 where there is none.
    cause
        Offset in `<app>-learner-input` of the record after which the learner told it.
    content
        Knowledge or figures as JSON; empty where there is none.
    """

    kind: NoticeKind
    day: int
    time_ms: int
    version: int
    cause: int
    content: bytes = b""

    @classmethod
    def of_knowledge(cls, kind: NoticeKind, day: int, knowledge: Knowledge, cause: int) -> Notice:
        """Make a notice that holds knowledge."""
        return cls(kind, day, knowledge.time_reached_ms, knowledge.version, cause, encode_knowledge(knowledge))

    @property
    def knowledge(self) -> Knowledge:
        """Read the knowledge in it."""
        return decode_knowledge(self.content)

    @property
    def headers(self) -> Headers:
        """What can be told without reading the content."""
        numbers = {"day": self.day, "time_ms": self.time_ms, "version": self.version, "cause": self.cause}
        return [("kind", self.kind.value.encode()), *((name, str(own).encode()) for name, own in numbers.items())]

    @classmethod
    def read(cls, record: LogRecord) -> Notice:
        """Read a record of `<app>-knowledge`.

        Raises
        ------
        IncompatibleStateError
            When it is no such record.
        """
        headers: dict[str, Any] = dict(record.headers)
        try:
            kind = NoticeKind(headers["kind"].decode())
            numbers = {name: int(headers[name]) for name in ("day", "time_ms", "version", "cause")}
        except (KeyError, ValueError) as error:
            message = f"offset {record.offset} of the knowledge topic cannot be read ({error}); who else writes to it?"
            raise IncompatibleStateError(message, code="unreadable_knowledge") from error
        return cls(kind, **numbers, content=record.value or b"")


def asks(notices: Sequence[Notice]) -> list[Notice]:
    """Pick the notices that every shard has to answer."""
    return [notice for notice in notices if notice.kind in (NoticeKind.ASK_FULL, NoticeKind.ASK_DRY_RUN)]
