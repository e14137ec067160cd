"""A TCP proxy before a broker, which makes everything late and breaks connections off."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading

from tests.kafka.broker import HOST

CHUNK_BYTES = 65_536


class SlowProxy:
    """Passes bytes on, each way, after a delay; runs in a thread of its own.

    Parameters
    ----------
    port
        Where it listens.
    target_port
        Where it passes bytes on to.
    seed
        Of the delays.
    """

    def __init__(self, port: int, target_port: int, seed: int) -> None:
        self._port, self._target_port = port, target_port
        self._draw = random.Random(seed)
        self._delay_s = (0.0, 0.0)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self.reset_count = 0

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, HOST, self._port)
        self._is_ready.set()
        await self._over.wait()
        server.close()
        self._break_off()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, broker_writer}
        await asyncio.gather(self._pass_on(reader, broker_writer), self._pass_on(broker_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                delay_s = self._draw.uniform(*self._delay_s)
                if delay_s:
                    await asyncio.sleep(delay_s)
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _break_off(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def delay(self, shortest_s: float, longest_s: float) -> None:
        """Pass everything on after a time between these, from now on."""
        self._delay_s = (shortest_s, longest_s)

    def reset(self) -> None:
        """Break all connections off."""
        self.reset_count += 1
        self._loop.call_soon_threadsafe(self._break_off)

    def __enter__(self) -> SlowProxy:
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()
