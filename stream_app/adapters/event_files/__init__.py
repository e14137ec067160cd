"""Event logs in files: read, checked, sorted by time out of core, and replayed as batches."""

from stream_app.adapters.event_files.event_log import EventLog, open_event_log
from stream_app.adapters.event_files.options import EventLogOptions, ReadCounts, ReadProgress

__all__ = ["EventLog", "EventLogOptions", "ReadCounts", "ReadProgress", "open_event_log"]
