"""A shop on a log, read by a model: made once for all tests of the read side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream_app.simulation.settings import ShopSettings
from stream_app.web.api import create_api
from stream_app.web.read_model import ReadModel
from stream_app.web.settings import WebSettings
from tests.web.api_client import ApiClient
from tests.web.reading import read_all
from tests.web.shop_log import TOPICS, ShopLog, make_log

ODD_IDS = {
    "c00000001": "<script>alert(1)</script>",
    "c00000002": "a/b/history",
    "c00000003": "Grüße 7/ü?#%41&x=1",
    "c00000004": "ü" * 128,
    "c00000006": "line\nbreak\t\u202e",
    "c00000007": "why",
    "c00000008": "/",
    "c00000009": "日本-🎈",
    "c00000010": "x" * 256,
}


@dataclass(frozen=True, repr=False)
class Shop:
    """What was written, and where."""

    source: ShopLog
    path: Path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of 600 customers and 150 days on a log with two partitions."""
    path = tmp_path_factory.mktemp("shop") / "log.db"
    source = ShopLog(ShopSettings(customers=600, days=150, seed=11), renamed=ODD_IDS)

    async def write() -> None:
        log = make_log(path)
        await log.start()
        for step in source.run():
            await log.append(step)
        await log.stop()

    asyncio.run(write())
    return Shop(source, path)


@pytest.fixture(scope="session")
def model(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadModel]:
    """A model that has read the whole log."""
    history = tmp_path_factory.mktemp("history") / "history.db"
    made = ReadModel(shop.source.policy, TOPICS, history, "test")
    asyncio.run(read_all(made, make_log(shop.path)))
    yield made
    made.close()


@pytest.fixture(scope="session")
def client(model: ReadModel) -> ApiClient:
    """A client of the API over that model, on this machine."""
    return ApiClient(create_api(model, WebSettings()))
