"""A server to look at: a simulated shop on a log of its own, its past at full speed, then about a day a second.

`python -m tests.web.serve_shop [PORT] [CUSTOMERS] [DAYS_BEFORE] [DAYS_LIVE]`
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import uvicorn

from stream_app.simulation.settings import ShopSettings
from stream_app.web.read_model import ReadModel
from stream_app.web.serving import bind, following_api
from stream_app.web.settings import WebSettings
from tests.web.shop_log import TOPICS, ShopLog, make_log

DAY_MS = 86_400_000


async def run(port: int, customers: int, days_before: int, days_live: int) -> None:
    """Serve until interrupted."""
    settings = WebSettings(port=port)
    shop = ShopLog(ShopSettings(customers=customers, days=days_before + days_live, seed=7))
    with tempfile.TemporaryDirectory() as folder:
        writing, reading = make_log(Path(folder) / "log.db"), make_log(Path(folder) / "log.db")
        model = ReadModel(shop.policy, TOPICS, Path(folder) / "history.db")
        server = uvicorn.Server(uvicorn.Config(following_api(model, settings, reading), log_level="warning"))
        await writing.start()
        task = asyncio.create_task(_write(shop, writing, days_before))
        print(f"http://127.0.0.1:{port}/  (open now; the past takes a moment)", flush=True)
        await server.serve([bind(settings)])
        task.cancel()
        await writing.stop()


async def _write(shop: ShopLog, log: object, days_before: int) -> None:
    live_from_ms = shop.settings.start_ms + days_before * DAY_MS
    steps = shop.run()
    while (step := await asyncio.to_thread(next, steps, None)) is not None:
        before_ms = shop.replay.watermark_ms
        await log.append(step)  # type: ignore[attr-defined]
        if before_ms > live_from_ms:
            await asyncio.sleep(min((shop.replay.watermark_ms - before_ms) / DAY_MS + 0.2, 2.0))


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    defaults = [8765, 3000, 200, 2000]
    asyncio.run(run(*(arguments + defaults[len(arguments) :])))
