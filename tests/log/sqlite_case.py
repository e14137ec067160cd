"""The embedded log as a case of the contract."""

from __future__ import annotations

from pathlib import Path

from stream_app.adapters.log.port import Log
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans


class SqliteCase:
    """A log file in a folder.

    Parameters
    ----------
    folder
        Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.log"
        self._topic_count = 0

    async def topic(self, partition_count: int = 1) -> str:
        self._topic_count += 1
        name = f"topic-{self._topic_count}"
        ensure_plans(self.path, [TopicPlan(name, partition_count)])
        return name

    def open(self, group: str = "segments") -> Log:
        return SqliteLog(self.path, group)
