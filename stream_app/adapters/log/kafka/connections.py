"""Waiting until connections to a cluster are closed, which aiokafka does for some of them only."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiokafka.conn
from aiokafka.conn import AIOKafkaConnection

ANSWER_TIMEOUT_S: Final = 1.0
"""A broker closes what it refuses after 100 ms; one that is out of reach answers to nothing."""

_closing: set[asyncio.Future[None]] = set()


class _WatchedConnection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that is known for as long as its closing takes: over TLS, until the broker has answered to it."""

    def close(self, reason: Any = None, exc: BaseException | None = None) -> asyncio.Future[None]:
        """Begin to close."""
        closed: asyncio.Future[None] = super().close(reason, exc)
        # Without a protocol it was never open.
        if self._protocol is not None and not closed.done():
            _closing.add(closed)
            closed.add_done_callback(_closing.discard)
        return closed


def watch_connections() -> None:
    """Have clients made from here on tell of what they close."""
    # The client waits for its own, but not for those that were refused, nor for the first one of all, and tells nobody.
    assert hasattr(aiokafka.conn, "AIOKafkaConnection")
    aiokafka.conn.AIOKafkaConnection = _WatchedConnection


async def connections_closed() -> None:
    """Wait until whatever is being closed in this event loop is closed, but no longer than `ANSWER_TIMEOUT_S`."""
    loop = asyncio.get_running_loop()
    if mine := [closed for closed in tuple(_closing) if closed.get_loop() is loop]:
        await asyncio.wait(mine, timeout=ANSWER_TIMEOUT_S)
