"""The worker's role on an embedded log: one process at a time has it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from stream_app.adapters.log.sqlite.file import starting
from stream_app.domain.errors import SettingsError


class WorkerRole:
    """Held from its making until it is given up or the process ends, however it ends.

    The lock is on a file beside the log: SQLite locks the log itself, and closing any other descriptor of that would
    take its locks away. Within one process it can be taken several times; giving one up gives up all.

    Parameters
    ----------
    path
        The log.

    Raises
    ------
    SettingsError
        When another process has it, or the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        lock_path = path.with_name(path.name + "-worker")
        self._descriptor: int | None = None
        with starting(path):
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                message = (
                    f"log {path} already has a worker (process {owner}), and an embedded log has one at a time; "
                    "end it first, or go on with Kafka for several"
                )
                raise SettingsError(message, code="second_worker") from None
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor

    def release(self) -> None:
        """Give it up; more than once does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
