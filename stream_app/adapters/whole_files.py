"""Files that a reader finds whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unfinished_name(path: Path) -> Path:
    """Give the name that a file bears beside its place until it is complete."""
    return path.with_name(path.name + ".partial")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; what is written there takes the file's place when the block ends without an error.

    Parameters
    ----------
    path
        Where the file goes; a file there is replaced.

    Yields
    ------
    Path
        The unfinished file's name; nothing is left of it after an error.
    """
    unfinished = unfinished_name(path)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
