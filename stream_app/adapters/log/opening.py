"""From the address of a log to its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_app.adapters.log.urls import LogUrl, SqliteUrl, parse_log_url

if TYPE_CHECKING:
    from stream_app.adapters.log.port import Log


def open_log(url: str | LogUrl, group: str) -> Log:
    """Make the client of a log; it connects by `start`.

    Parameters
    ----------
    url
        Where the log is, as `parse_log_url` reads it.
    group
        Whose positions are told and read: the name of the application.

    Raises
    ------
    SettingsError
        When the address cannot be used.
    """
    parsed = parse_log_url(url) if isinstance(url, str) else url
    if isinstance(parsed, SqliteUrl):
        from stream_app.adapters.log.sqlite.log import SqliteLog

        return SqliteLog(parsed.path, group)
    from stream_app.adapters.log.kafka.log import KafkaLog

    return KafkaLog(parsed.bootstrap, group)
