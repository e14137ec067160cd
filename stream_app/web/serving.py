"""Running the web server: the API over a model that follows a log, on one address."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from stream_app.adapters.log.port import Log
from stream_app.domain.errors import SettingsError, StreamAppError
from stream_app.web.api import create_api
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings

SHUTDOWN_SECONDS = 3
"""How long open requests may go on after a signal to end."""
_BACKLOG = 2048
_log = logging.getLogger(__name__)


def following_api(model: ReadModel, settings: WebSettings, log: Log) -> FastAPI:
    """Make the API together with what follows the log while it runs."""
    follower = Follower(model, log)

    @asynccontextmanager
    async def follow(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(follower.run())
        task.add_done_callback(lambda ended: _note_end(model, ended))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
            await log.stop()
            model.close()

    return create_api(model, settings, lifespan=follow, on_rebuild=follower.rebuild)


def _note_end(model: ReadModel, task: asyncio.Task[None]) -> None:
    """Say why following ended: the server goes on to answer with what it knows, and that it is not up to date."""
    if task.cancelled() or task.exception() is None:
        return
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    model.fault = str(error) if isinstance(error, StreamAppError) else f"{type(error).__name__}: restart the server"
    _log.error("following the log ended: %s", model.fault, exc_info=error)


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


def serve(api: FastAPI, bound: socket.socket) -> None:
    """Serve until a signal to end comes."""
    config = uvicorn.Config(
        api,
        # Requests are logged by the gate, without what names customers.
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        lifespan="on",
        ws="none",
    )
    server = uvicorn.Server(config)
    # Streams have no end of their own, and the server waits for all answers to be given.
    api.state.hub.is_ending = lambda: server.should_exit
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])
