"""Where a run takes place: its folder, which one run at a time may use, and its port."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_app.domain.errors import SettingsError

LOOPBACK = "127.0.0.1"
PORT_PREFERRED = 8765
"""Taken when it is free, so that a page that is open finds the next run."""
LOCK_NAME = "run.lock"


@contextmanager
def held_folder(path: Path) -> Iterator[Path]:
    """Make the folder if need be, and keep other runs out of it.

    Yields
    ------
    pathlib.Path
        The folder, absolute.

    Raises
    ------
    SettingsError
        When it cannot be written to, or when another run is using it.
    """
    folder = path.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_NAME).open("a+b")
    except OSError as error:
        message = f"--folder {path} cannot be written to ({error.strerror or error}); name another folder with --folder"
        raise SettingsError(message, code="folder_unwritable") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read(200).decode(errors="replace").strip()
            known = f" ({owner})" if owner else ""
            message = f"--folder {path} is in use by another run{known}; stop that one, or name another folder"
            raise SettingsError(message, code="folder_in_use") from None
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                lock.truncate(0)


def note_owner(folder: Path, address: str) -> None:
    """Write into the lock who is running here, for the message of a second run."""
    (folder / LOCK_NAME).write_text(f"process {os.getpid()}, {address}\n", encoding="utf-8")


def choose_port(wanted: int | None) -> int:
    """Give a port of the loopback address that is free now.

    Parameters
    ----------
    wanted
        None: any will do.

    Raises
    ------
    SettingsError
        When the wanted one is in use or not allowed.
    """
    if wanted is not None:
        problem = _problem_of(wanted)
        if problem:
            message = f"--port {wanted} cannot be used ({problem}); name another one, or none for any that is free"
            raise SettingsError(message, code="port_in_use")
        return wanted
    if _problem_of(PORT_PREFERRED) is None:
        return PORT_PREFERRED
    with socket.socket() as any_free:
        any_free.bind((LOOPBACK, 0))
        port: int = any_free.getsockname()[1]
        return port


def _problem_of(port: int) -> str | None:
    with socket.socket() as probe:
        # As servers bind: a port whose last connections are still dying away can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return None
