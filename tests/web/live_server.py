"""A real server on a loopback port, in a thread of the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from stream_app.web.serving import bind, configure
from stream_app.web.settings import WebSettings

DEADLINE_SECONDS = 30.0


@contextmanager
def running(api: FastAPI, settings: WebSettings | None = None) -> Iterator[str]:
    """Run an application; gives its address."""
    bound = bind(settings or WebSettings(port=0))
    server = uvicorn.Server(configure(api))
    api.state.hub.is_ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_SECONDS)
        bound.close()
        assert not thread.is_alive()


def wait_until_ready(address: str) -> None:
    """Wait until the server has read everything."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if httpx.get(f"{address}/readyz").status_code == 200:
            return
    message = "the server was not ready in time"
    raise TimeoutError(message)


class Events:
    """Server-sent events of a response, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self, *names: str) -> dict[str, str]:
        """Give the next event of one of these names; others and comments are passed over."""
        event: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                event[name] = f"{event[name]}\n{value}" if name in event else value
                continue
            if event.get("event") in names:
                return event
            event = {}
        message = f"the stream ended before {names}"
        raise EOFError(message)
