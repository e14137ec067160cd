"""Segment changes as server-sent events: one hub, and a bounded queue for everyone who listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from stream_app.web.change_records import StoredChange
from stream_app.web.problems import ProblemError
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings

QUEUE_MAX = 1000
"""Changes that wait for one listener; of a slower one, the oldest are let go, and it is told how many."""
RESUMED_MAX = 10_000
"""Most changes that a listener who comes back is given; who missed more begins anew."""
RETRY_MS = 1000
LOOK_SECONDS = 0.5
"""Time between looks at whether there is anything to send, where no change came."""
TOTALS_SECONDS = 1.0
"""Populations are sent at most this often."""

Matcher = Callable[[StoredChange], bool]


@dataclass(slots=True, eq=False)
class _Listener:
    """Someone who listens: what waits for them, and how much was let go."""

    waiting: deque[StoredChange] = field(default_factory=deque)
    skipped_count: int = 0
    is_awake: asyncio.Event = field(default_factory=asyncio.Event)


class ChangeHub:
    """Hands changes to everyone who listens.

    Parameters
    ----------
    model
        Where changes come from.
    settings
        Limits.
    """

    def __init__(self, model: ReadModel, settings: WebSettings) -> None:
        self._model, self._settings = model, settings
        self._listeners: list[_Listener] = []
        self._clients: dict[str, int] = {}
        self.is_ending: Callable[[], bool] = lambda: False
        model.listen(self._tell)

    @property
    def stream_count(self) -> int:
        """Streams that are open."""
        return sum(self._clients.values())

    @contextlib.contextmanager
    def admitted(self, client: str) -> Iterator[None]:
        """Count a stream of a client in.

        Raises
        ------
        ProblemError
            When there are too many.
        """
        own = self._clients.get(client, 0)
        if self.stream_count >= self._settings.streams_max or own >= self._settings.streams_per_client:
            detail = "too many event streams are open; close some, or try again later"
            raise ProblemError(503, "too_many_streams", detail, {"Retry-After": "5"})
        self._clients[client] = own + 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _tell(self, changes: Sequence[StoredChange]) -> None:
        for listener in self._listeners:
            listener.waiting.extend(changes)
            excess = len(listener.waiting) - QUEUE_MAX
            if excess > 0:
                listener.skipped_count += excess
                for _ in range(excess):
                    listener.waiting.popleft()
            listener.is_awake.set()

    async def stream(
        self, wanted: Matcher, last_event_id: str | None, totals: Callable[[], bytes] | None
    ) -> AsyncGenerator[bytes, None]:
        """Give events as they are sent: what was missed, then what comes, with signs of life.

        Parameters
        ----------
        wanted
            Which changes to give.
        last_event_id
            Of the last event that the listener got; None begins with what comes from now on.
        totals
            Writes populations, sent about once a second while they change; None leaves them out.
        """
        listener = _Listener()
        self._listeners.append(listener)
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            reached = self._model.history.last_number
            if last_event_id is not None:
                async for part in self._missed(wanted, last_event_id, reached):
                    yield part
            yield self._event(b"ready", orjson.dumps({"generation": self._model.history.generation}), reached)
            async for part in self._live(listener, wanted, reached, totals):
                yield part
        finally:
            self._listeners.remove(listener)

    async def _missed(self, wanted: Matcher, last_event_id: str, reached: int) -> AsyncIterator[bytes]:
        generation, _, digits = last_event_id.partition(".")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1
        if generation != self._model.history.generation or not 0 <= number <= reached:
            yield self._event(b"reset", b'{"reason":"the history was made anew"}', reached)
            return
        if reached - number > RESUMED_MAX:
            yield self._event(b"reset", b'{"reason":"too much was missed"}', reached)
            return
        while number < reached:
            changes = await asyncio.to_thread(self._model.history.changes_after, number, QUEUE_MAX)
            changes = [change for change in changes if change.number <= reached]
            if not changes:
                return
            number = changes[-1].number
            yield b"".join(self._change(change) for change in changes if wanted(change))

    async def _live(
        self, listener: _Listener, wanted: Matcher, reached: int, totals: Callable[[], bytes] | None
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        sent_totals, totals_at, alive_at = b"", 0.0, loop.time()
        while not self.is_ending():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await listener.is_awake.wait()
            listener.is_awake.clear()
            parts = []
            if listener.skipped_count:
                parts.append(self._event(b"skipped", b'{"changes":%d}' % listener.skipped_count, None))
                listener.skipped_count = 0
            parts += [self._change(c) for c in listener.waiting if c.number > reached and wanted(c)]
            listener.waiting.clear()
            now = loop.time()
            if totals is not None and now - totals_at >= TOTALS_SECONDS:
                written = totals()
                totals_at = now
                if written != sent_totals:
                    sent_totals = written
                    parts.append(self._event(b"segments", written, None))
            if not parts and now - alive_at >= self._settings.heartbeat_seconds:
                parts.append(b": alive\n\n")
            if parts:
                alive_at = now
                yield b"".join(parts)

    def _change(self, change: StoredChange) -> bytes:
        return self._event(b"change", change.record, change.number)

    def _event(self, name: bytes, data: bytes, number: int | None) -> bytes:
        mark = b"" if number is None else b"id: %b.%d\n" % (self._model.history.generation.encode(), number)
        lines = b"\n".join(b"data: " + line for line in data.splitlines())
        return b"%bevent: %b\n%b\n\n" % (mark, name, lines)
