"""The worker's own HTTP address for its operators: metrics, and whether it lives and is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from stream_app.domain.errors import SettingsError

_StartResponse = Callable[..., Any]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Write no access log."""


class MetricsServer:
    """Serves `/metrics`, `/livez` and `/readyz` from a thread of its own.

    Parameters
    ----------
    registry
        What is served at `/metrics`.
    is_alive, is_ready
        Asked at each request.
    """

    def __init__(
        self, registry: CollectorRegistry, *, is_alive: Callable[[], bool], is_ready: Callable[[], bool]
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._checks = {"/livez": is_alive, "/readyz": is_ready}
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.server_port)

    def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises
        ------
        SettingsError
            When the address cannot be had.
        """
        try:
            self._server = make_server(host, port, self._answer, handler_class=_Quiet)
        except OSError as error:
            message = f"metrics at {host}:{port}: {error.strerror}; choose another --metrics-port, or 0 for a free one"
            raise SettingsError(message, code="address_in_use") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            pages: Iterable[bytes] = self._metrics(environ, start_response)
            return pages
        check = self._checks.get(path)
        status, text = ("404 Not Found", b"/metrics, /livez or /readyz\n")
        if check is not None:
            status, text = ("200 OK", b"ok\n") if check() else ("503 Service Unavailable", b"not yet\n")
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))])
        return [text]
