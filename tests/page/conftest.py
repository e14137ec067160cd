"""A real Chromium, and pages in it that may speak to nobody but the server they come from."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from stream_app.adapters.log.port import Outgoing
from stream_app.simulation.settings import ShopSettings
from tests.page.served_shop import ServedShop
from tests.web.shop_log import ShopLog

CHROMIUM_MISSING = "Chromium is not here: install it (Debian: apt-get install chromium), or give its path in CHROMIUM"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
ODD_IDS = {
    "c00000001": "<script>document.title='taken'</script>",
    "c00000478": 'Grüße/7 %2F?#"><img src=x onerror=alert(1)>',
    "c00000271": "x" * 256,
}
RECORDS_PER_STEP = 12
PATIENCE_MS = 60_000
"""How long a page may take on a machine that has other things to do; what never comes is missed all the same."""
LIVE_SHARE = 0.1
"""Of the shop's steps, so many are told only when a test wants to see something happen."""


# Playwright keeps an event loop in this thread as long as it runs; beyond a module, it would be in others' way.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; without one the tests are skipped loudly, and fail where CI is true."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(CHROMIUM_MISSING, pytrace=False)
        pytest.skip(CHROMIUM_MISSING)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end that the page was not looked at."""
    skipped = [
        report.nodeid
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and CHROMIUM_MISSING in report.longrepr[2]
    ]
    if skipped:
        terminalreporter.section("NOT CHECKED: the live page in a browser", sep="!", yellow=True, bold=True)
        terminalreporter.line(f"{CHROMIUM_MISSING}; {len(skipped)} tests were skipped")


@pytest.fixture(scope="session")
def steps() -> Sequence[Sequence[Outgoing]]:
    """What a worker commits for a shop of 500 customers and 200 days."""
    shop = ShopLog(ShopSettings(customers=500, days=200, seed=5), renamed=ODD_IDS)
    records = list(itertools.chain.from_iterable(shop.run()))
    return [records[start : start + RECORDS_PER_STEP] for start in range(0, len(records), RECORDS_PER_STEP)]


@pytest.fixture(scope="module")
def shop(steps: Sequence[Sequence[Outgoing]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedShop]:
    """The shop on a server, with something left to tell."""
    served = ServedShop(tmp_path_factory.mktemp("shop"), steps)
    served.tell(int(len(steps) * (1 - LIVE_SHARE)))
    served.start()
    yield served
    served.stop()


class Visitor:
    """Opens pages, and holds against them whatever they complain about or ask of others.

    Parameters
    ----------
    browser
        The browser.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._heard: list[str] = []
        self._forgiven: list[str] = []
        self.foreign: list[str] = []
        self._own = ""

    def open(self, address: str, **options: Any) -> Page:
        """Open an address in a browser without a past."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        self._own = address.split("/")[2]
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self._heard.append(f"dialog: {dialog.message}"))
        context.on("request", self._watch)
        page.goto(address)
        return page

    def _watch(self, request: Request) -> None:
        if request.url.split("/")[2] != self._own:
            self.foreign.append(request.url)

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self._heard.append(f"{kind}: {text}")

    @property
    def complaints(self) -> list[str]:
        """What was complained about, but for what had to be."""
        return [said for said in self._heard if not any(part in said for part in self._forgiven)]

    def forgive(self, *parts: str) -> None:
        """Take complaints with one of these parts as what has to be, also those that are still on their way."""
        self._forgiven += parts

    def close(self) -> None:
        """Leave."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def visitor(browser: Browser, served: object) -> Iterator[Visitor]:
    """Someone who opens pages; at the end, nothing was complained about and nobody else was asked for anything.

    Servers of the test are there until the visitor has left.
    """
    visitor = Visitor(browser)
    yield visitor
    visitor.close()
    assert visitor.complaints == []
    assert visitor.foreign == []


@pytest.fixture
def page(visitor: Visitor, shop: ServedShop) -> Page:
    """The overview of the shop, with everything on it."""
    page = visitor.open(shop.address)
    page.wait_for_selector("#changes > li")
    page.wait_for_selector("#movement .plot svg")
    return page


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., ServedShop]]:
    """Makes servers of a test's own, and ends them."""
    made: list[ServedShop] = []

    def serve(steps: Sequence[Sequence[Outgoing]], *arguments: str) -> ServedShop:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(ServedShop(folder, steps, arguments))
        return made[-1]

    yield serve
    for served in made:
        served.stop()
