"""Between bytes and columns: events in, segment changes, current segments and dead letters out."""

from stream_app.adapters.codec.decoded import DecodedBatch, IgnoredReason, RefusedRecord
from stream_app.adapters.codec.decoding import EventDecoder

__all__ = ["DecodedBatch", "EventDecoder", "IgnoredReason", "RefusedRecord"]
