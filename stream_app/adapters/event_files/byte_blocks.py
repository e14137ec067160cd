"""The bytes of a text file, decompressed, one block after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from stream_app.adapters.event_files.discovery import EventFile

BLOCK_BYTES = 4 << 20
"""Read at once: large enough that the cost of a block does not count, small enough to lie in memory several times."""


class ByteBlocks:
    """The blocks of one file; iterating reads them.

    Parameters
    ----------
    file
        Which one.
    on_bytes
        Is told after each block how many bytes of the file as it lies on disk have been read.
    block_bytes
        Length of a block. The last one may be shorter, none is empty.
    """

    def __init__(self, file: EventFile, on_bytes: Callable[[int], None], block_bytes: int = BLOCK_BYTES) -> None:
        self.file = file
        self._on_bytes = on_bytes
        self._block_bytes = block_bytes

    def __iter__(self) -> Iterator[bytes]:
        """Read the file.

        Raises
        ------
        OSError
            When it cannot be read, or its compression is broken or cut off.
        """
        with pa.OSFile(str(self.file.path), "rb") as raw:
            stream = pa.CompressedInputStream(raw, self.file.compression) if self.file.compression else raw
            with stream:
                while block := stream.read(self._block_bytes):
                    if self.file.compression is None:
                        self._on_bytes(raw.tell())
                    yield block
        self._on_bytes(self.file.size_bytes)
