"""How long it takes from an event in the log to the change on a page in a browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.live_application import START_MS, Events, LiveApplication, learned_knowledge
from benchmarks.measurement import Measurement
from benchmarks.pipeline import use_all_cores
from benchmarks.scale import Scale
from benchmarks.web_lookup import serving

PARTITIONS = 2
EVENTS_PER_SECOND = 10
CUSTOMERS_BEFORE = 2_000
EVENTS_FULL, EVENTS_QUICK = 300, 10
CEILING_MS = 300.0
WAIT_SECONDS_MAX = 120.0
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_WATCH = """() => {
  window.seen = {};
  const note = (item) => { window.seen[item.querySelector("a.id").textContent] ??= Date.now(); };
  new MutationObserver((list) => list.forEach((change) => change.addedNodes.forEach(note)))
    .observe(document.querySelector("#changes"), { childList: true });
}"""


def run(scale: Scale) -> list[Measurement]:
    """Write purchases of customers who are new, each of whom is rated at once, and watch a page."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    what = f"from an event in the embedded log to its change on the page, 95th percentile, {EVENTS_PER_SECOND} events/s"
    if browser is None:
        notes = "Chromium is not here: install it, or give its path in CHROMIUM"
        return [Measurement(name="event_to_page.p95", what=what, unit="ms", value=None, notes=notes)]
    use_all_cores()
    with tempfile.TemporaryDirectory(prefix="stream-app-page-") as folder:
        latencies_ms = asyncio.run(_latencies(scale, Path(folder), browser))
    middle, p95, longest = np.percentile(latencies_ms, (50, 95, 100))
    return [
        Measurement(
            name="event_to_page.p95",
            what=what,
            unit="ms",
            value=float(p95),
            floor=CEILING_MS,
            is_ceiling=True,
            notes=f"{len(latencies_ms)} events; median {middle:.0f}, longest {longest:.0f} ms; worker, server and "
            "browser on the same cores",
        )
    ]


async def _latencies(scale: Scale, folder: Path, browser: str) -> list[float]:
    url = f"sqlite://{folder / 'log.sqlite'}"
    knowledge = learned_knowledge(scale)
    count = EVENTS_FULL if scale.is_full else EVENTS_QUICK
    with await asyncio.to_thread(LiveApplication, url, PARTITIONS, folder) as application:
        log = await application.opened()
        try:
            await application.publish(log, knowledge)
            before = Events.drawn(CUSTOMERS_BEFORE, CUSTOMERS_BEFORE)
            await application.fill(log, before)
            application.start_worker()
            await application.rate(log, CUSTOMERS_BEFORE)
            arguments = ["--app", application.topics.app, "--events", application.topics.events]
            with serving(folder / "log.sqlite", *arguments) as (address, _):
                async with _page(browser, address) as page:
                    written = {}
                    for number in range(count):
                        await asyncio.sleep(1 / EVENTS_PER_SECOND)
                        written[f"new{number}"] = time.time() * 1000
                        await application.fill(log, _purchase(before.times_ms[-1] + number + 1, f"new{number}"))
                    return await _seen(page, written)
        finally:
            await log.stop()


def _purchase(time_ms: int, customer_id: str) -> Events:
    assert time_ms >= START_MS
    stamp = np.datetime_as_string(np.datetime64(time_ms, "ms"))
    event = {"event_id": customer_id, "customer_id": customer_id, "type": "purchase", "amount": 50.0}
    return Events([customer_id.encode()], [orjson.dumps(event | {"occurred_at": f"{stamp}Z"})], [time_ms])


@asynccontextmanager
async def _page(browser_path: str, address: str) -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path, args=_ARGUMENTS)
        page = await browser.new_page()
        await page.goto(address)
        await page.wait_for_selector("#changes > li", timeout=WAIT_SECONDS_MAX * 1000)
        await page.evaluate(_WATCH)
        yield page
        await browser.close()


async def _seen(page: Any, written: dict[str, float]) -> list[float]:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        seen = await page.evaluate("window.seen")
        if set(written) <= set(seen):
            return [seen[customer_id] - written[customer_id] for customer_id in written]
        await asyncio.sleep(0.1)
    message = "some changes never came to the page"
    raise RuntimeError(message)
