"""What a run consists of: one log in one folder, and the processes that work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import SqliteUrl, parse_log_url
from stream_app.domain.errors import SettingsError
from stream_app.supervisor.children import ChildCommand

APP = "segments"
EVENTS_TOPIC = "customer-events"
LOG_NAME = "log.sqlite"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is to run.

    Parameters
    ----------
    folder
        Absolute; for the log and for what the processes write.
    log
        Address of the embedded log; None: a file in the folder.
    partition_count
        Of the events.
    policy
        Policy file; None: the default policy.
    feed_arguments
        What is fed, as arguments of `stream-app feed`.
    """

    folder: Path
    log: str | None = None
    partition_count: int = 2
    policy: Path | None = None
    feed_arguments: Sequence[str] = field(default_factory=tuple)

    @property
    def log_url(self) -> SqliteUrl:
        """The embedded log.

        Raises
        ------
        SettingsError
            When another kind of log is named.
        """
        if self.log is None:
            return SqliteUrl(self.folder / LOG_NAME)
        url = parse_log_url(self.log)
        if not isinstance(url, SqliteUrl):
            message = f"--log {self.log}: `run` keeps a log of its own, sqlite:...; on Kafka, start `worker` and `web`"
            raise SettingsError(message, code="no_embedded_log")
        return SqliteUrl(url.path.absolute())

    def make_log(self) -> None:
        """Make the log and its topics, or check those that are there.

        Raises
        ------
        SettingsError, IncompatibleStateError
            When the log cannot be used.
        """
        ensure_topics(self.log_url.path, Topics(APP, EVENTS_TOPIC), self.partition_count)

    def commands(self, port: int) -> list[ChildCommand]:
        """Give the processes: the page first, so that it is there while everything else begins."""
        common: tuple[str, ...] = ("--log", str(self.log_url), "--app", APP, "--events", EVENTS_TOPIC)
        if self.policy is not None:
            common += ("--policy", str(self.policy.absolute()))
        history = str(self.folder / "web.sqlite")
        return [
            ChildCommand("web", ("web", *common, "--port", str(port), "--history", history)),
            ChildCommand("worker", ("worker", *common, "--ticks", "none")),
            ChildCommand("feed", ("feed", *common, *self.feed_arguments), ends_by_itself=True),
        ]
