"""Somebody's own event log in files, as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from stream_app.adapters.event_files import EventLog
from stream_app.adapters.event_files.discovery import EventFile
from stream_app.adapters.event_files.event_records import read_records
from stream_app.domain.policy import Policy
from stream_app.supervisor.event_stream import EventSlice

_EVENTS_MAX = 8192


@dataclass(frozen=True, slots=True)
class FileEvents:
    """The events of files in order of time.

    Parameters
    ----------
    log
        What was read.
    policy
        The one it was read under.
    files
        Where it was read from.
    """

    log: EventLog
    policy: Policy
    files: tuple[EventFile, ...]

    @property
    def identity(self) -> str:
        """Names and sizes of the files, and how many events they hold under the policy."""
        files = [[file.name, file.path.stat().st_size] for file in self.files]
        return json.dumps({"files": files, "events": self.log.counts.event_count, "policy": self.policy.content_hash})

    def slices(self, position: int) -> Iterator[EventSlice]:
        """Give all events but the first `position`."""
        for records in read_records(self.log, self.policy, events_max=_EVENTS_MAX):
            skipped = min(position, len(records))
            position -= skipped
            if skipped < len(records):
                yield EventSlice(records.times_ms, records.keys, records.values)[skipped:]
