"""Between bytes and columns: events in, segment changes, current segments and dead letters out."""

from stream_app.adapters.codec.current_segments import (
    CurrentSegmentEncoder,
    CurrentSegments,
    encode_current_segments,
)
from stream_app.adapters.codec.dead_letters import encode_dead_letter
from stream_app.adapters.codec.decoded import DecodedBatch, IgnoredReason, RefusedRecord
from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.codec.encoding import ChangeEncoder, EventSources, change_headers

__all__ = [
    "ChangeEncoder",
    "CurrentSegmentEncoder",
    "CurrentSegments",
    "DecodedBatch",
    "EventDecoder",
    "EventSources",
    "IgnoredReason",
    "RefusedRecord",
    "change_headers",
    "encode_current_segments",
    "encode_dead_letter",
]
