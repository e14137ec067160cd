"""HTTP requests whose heads are bounded, whoever sends them."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 65_536
"""Longest head of a request: its line and its headers. Browsers send a few hundred bytes."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's parser in C, which by itself takes heads of any length, before anybody has asked for a token."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._is_in_head = self._has_begun = False
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what came, and refuse a head that does not end."""
        self._has_begun = False
        super().data_received(data)
        # The piece in which a head begins may hold requests before it; no piece is long.
        if self._is_in_head and not self._has_begun and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        self._is_in_head = self._has_begun = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Go on with its body."""
        self._is_in_head = False
        super().on_headers_complete()
