"""The embedded log keeps the contract of every log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.log.contract import PROMISES, Promise
from tests.log.sqlite_case import SqliteCase

DEADLINE_S = 180


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_embedded_log_keeps_the_contract(promise: Promise, tmp_path: Path) -> None:
    async def keep() -> None:
        await asyncio.wait_for(promise(SqliteCase(tmp_path)), DEADLINE_S)

    asyncio.run(keep())
