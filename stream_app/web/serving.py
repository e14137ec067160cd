"""Running the web server: the API over a model that follows a log, on one address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from stream_app.adapters.interpreter import search_less_for_cycles, take_short_turns
from stream_app.adapters.log.port import Log
from stream_app.domain.errors import SettingsError
from stream_app.engine.compilation import compile_all
from stream_app.web.api import create_api
from stream_app.web.bounded_http import BoundedHttp
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings

SHUTDOWN_SECONDS = 3
"""How long open requests may go on after a signal to end."""
_BACKLOG = 2048


def following_api(model: ReadModel, settings: WebSettings, log: Log) -> FastAPI:
    """Make the API together with what follows the log while it runs."""
    follower = Follower(model, log)

    @asynccontextmanager
    async def follow(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(follower.run())
        task.add_done_callback(lambda ended: _note_end(api, ended))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
            await log.stop()
            model.close()

    api = create_api(model, settings, lifespan=follow, on_rebuild=follower.rebuild)
    api.state.failure = None
    api.state.end = lambda: None
    return api


def _note_end(api: FastAPI, task: asyncio.Task[None]) -> None:
    """End the server when following has ended, since it would tell of a past without saying so."""
    error: BaseException | None = None if task.cancelled() else task.exception()
    if error is None:
        return
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    api.state.failure = error
    api.state.end()


def bind(settings: WebSettings) -> socket.socket:
    """Take the address before anything else is done.

    Raises
    ------
    SettingsError
        When it cannot be had.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        message = f"--host: {settings.host} is no address of this machine ({error.strerror}); take 127.0.0.1"
        raise SettingsError(message, code="unusable_address") from error
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        place = f"{settings.host}:{settings.port}"
        reason = (error.strerror or "not possible").lower()
        message = f"--port: cannot listen on {place}: {reason}; choose another --port, or 0 for any that is free"
        raise SettingsError(message, code="unusable_address") from error
    return bound


def configure(api: FastAPI) -> uvicorn.Config:
    """Say how the application is served."""
    return uvicorn.Config(
        api,
        # Requests are logged by the gate, without what names customers.
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        lifespan="on",
        # A parser in C spares a third of what a look-up takes.
        http=BoundedHttp,
        ws="none",
    )


def serve(api: FastAPI, bound: socket.socket) -> None:
    """Serve until a signal to end comes.

    Raises
    ------
    StreamAppError
        When the topics cannot be read: another policy, another version, no log.
    """
    # Requests wait for the thread that writes the history.
    take_short_turns()
    compile_all()
    search_less_for_cycles()
    server = uvicorn.Server(configure(api))
    # Streams have no end of their own, and the server waits for all answers to be given.
    api.state.hub.is_ending = lambda: server.should_exit
    api.state.end = lambda: setattr(server, "should_exit", True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
    if api.state.failure is not None:
        raise api.state.failure
