"""Noticing that somebody wrote to an embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.sqlite.file import open_file, running

POLL_MIN_S: Final = 0.002
"""Between two looks after a change; one takes some microseconds."""
POLL_MAX_S: Final = 0.02
"""Between two looks when nothing has changed for a while: less than a hundredth of a core."""
_POLL_GROWTH: Final = 1.2


class ChangeWatch:
    """Tells when a log was written to, by any process, this one included.

    Parameters
    ----------
    path
        The log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A connection that never writes: SQLite does not count one's own changes.
        self._connection = open_file(path, is_writing=False)
        self._is_open = True

    def version(self) -> int:
        """Give a number that is another one after every change.

        Raises
        ------
        LogError
            When the log was closed, or cannot be read.
        """
        if not self._is_open:
            message = f"log {self._path} was closed while it was followed"
            raise LogError(message)
        with running(self._path):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    async def wait_for_change(
        self, seen: int, timeout_s: float | None = None, is_called: Callable[[], bool] | None = None
    ) -> None:
        """Return when the version is another one than that which was seen.

        Parameters
        ----------
        seen
            What `version` gave before the log was read.
        timeout_s
            Return after this time in any case.
        is_called
            Return, too, when this says so.
        """
        pause_s = POLL_MIN_S
        waited_s = 0.0
        while self.version() == seen and (timeout_s is None or waited_s < timeout_s):
            await asyncio.sleep(pause_s)
            if is_called is not None and is_called():
                return
            waited_s += pause_s
            pause_s = min(pause_s * _POLL_GROWTH, POLL_MAX_S)

    def close(self) -> None:
        """Close the connection; whoever waits gets an error."""
        if self._is_open:
            self._is_open = False
            self._connection.close()
