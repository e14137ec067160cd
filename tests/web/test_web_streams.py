"""Changes reach those who listen as they come, and whoever was away goes on where they were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream_app.adapters.log.port import Log, Outgoing
from stream_app.web.change_records import Batch, StoredChange
from stream_app.web.change_stream import QUEUE_MAX, RESUMED_MAX, ChangeHub
from stream_app.web.problems import ProblemError
from stream_app.web.read_model import ReadModel
from stream_app.web.serving import following_api
from stream_app.web.settings import WebSettings
from tests.web.conftest import Shop
from tests.web.live_server import Events, running, wait_until_ready
from tests.web.shop_log import TOPICS, make_log

STREAM = "/v1/changes/stream"
TIMEOUT = httpx.Timeout(30.0)


@dataclass
class Live:
    """A server over a log that a test writes to."""

    address: str
    path: Path
    records: list[bytes]
    model: ReadModel

    def write(self, count: int) -> list[dict[str, Any]]:
        """Publish the next changes of the shop."""
        chosen, self.records = self.records[:count], self.records[count:]

        async def append() -> None:
            log: Log = make_log(self.path)
            await log.start()
            await log.append([Outgoing(TOPICS.segment_changes, 0, chosen)])
            await log.stop()

        asyncio.run(append())
        return [json.loads(record) for record in chosen]


def published(shop: Shop) -> list[bytes]:
    return [json.dumps(change).encode() for change in shop.source.told]


@pytest.fixture
def live(shop: Shop, tmp_path: Path) -> Iterator[Live]:
    path = tmp_path / "log.db"
    make_log(path)
    model = ReadModel(shop.source.policy, TOPICS, tmp_path / "history.db")
    with running(following_api(model, WebSettings(heartbeat_seconds=0.2), make_log(path))) as address:
        wait_until_ready(address)
        yield Live(address, path, published(shop), model)


def test_a_change_is_sent_as_soon_as_it_is_published(live: Live) -> None:
    with httpx.stream("GET", live.address + STREAM, timeout=TIMEOUT) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = Events(response)
        events.next("ready")
        for change in live.write(3):
            assert json.loads(events.next("change")["data"]) == change


def test_changes_are_streamed_to_those_who_accept_event_streams(live: Live) -> None:
    headers = {"Accept": "text/event-stream"}
    with httpx.stream("GET", live.address + "/v1/changes", headers=headers, timeout=TIMEOUT) as response:
        events = Events(response)
        events.next("ready")
        (change,) = live.write(1)
        assert json.loads(events.next("change")["data"]) == change


def test_who_comes_back_gets_what_was_missed_once(live: Live) -> None:
    with httpx.stream("GET", live.address + STREAM, timeout=TIMEOUT) as response:
        events = Events(response)
        events.next("ready")
        live.write(2)
        events.next("change")
        last = events.next("change")["id"]
    missed = live.write(5)
    with httpx.stream("GET", live.address + STREAM, headers={"Last-Event-ID": last}, timeout=TIMEOUT) as response:
        events = Events(response)
        told = [json.loads(events.next("change", "reset")["data"]) for _ in missed]
        assert told == missed
        events.next("ready")
        later = live.write(1)
        assert json.loads(events.next("change")["data"]) == later[0]


@pytest.mark.parametrize("last", ["other.3", "nonsense", "", "-1", f"{'9' * 60}"])
def test_who_was_at_a_place_that_is_not_known_is_told_to_begin_anew(live: Live, last: str) -> None:
    with httpx.stream("GET", live.address + STREAM, headers={"Last-Event-ID": last}, timeout=TIMEOUT) as response:
        events = Events(response)
        assert events.next("reset", "ready")["event"] == "reset"


def test_only_wanted_changes_are_streamed(live: Live) -> None:
    query = {"axis": "growth", "from": "none"}
    with httpx.stream("GET", live.address + STREAM, params=query, timeout=TIMEOUT) as response:
        events = Events(response)
        events.next("ready")
        told = live.write(40)
        wanted = [change for change in told if change["axis"] == "growth" and change["from_tier"] is None]
        assert wanted
        assert [json.loads(events.next("change")["data"]) for _ in wanted] == wanted


def test_populations_are_sent_to_those_who_ask_for_them(live: Live) -> None:
    with httpx.stream("GET", live.address + STREAM, params={"totals": "true"}, timeout=TIMEOUT) as response:
        totals = json.loads(Events(response).next("segments")["data"])
        assert totals["customers"] == 0
        assert {"value": "vip", "growth": "growing"} in [own["segment"] for own in totals["segments"]]


def test_a_quiet_stream_shows_signs_of_life(live: Live) -> None:
    with httpx.stream("GET", live.address + STREAM, timeout=TIMEOUT) as response:
        assert any(line.startswith(":") for line in response.iter_lines())


def stored(number: int) -> StoredChange:
    return StoredChange(number, 0, number, b"{}")


def hub_of(shop: Shop, **limits: Any) -> tuple[ReadModel, ChangeHub]:
    model = ReadModel(shop.source.policy, TOPICS)
    return model, ChangeHub(model, WebSettings(**limits))


def test_a_slow_listener_loses_the_oldest_and_is_told_how_many(shop: Shop) -> None:
    model, hub = hub_of(shop)

    async def listen() -> list[bytes]:
        stream = hub.stream(lambda _: True, None, None)
        parts = [await anext(stream), await anext(stream)]
        model.tell([stored(number) for number in range(1, QUEUE_MAX + 8)])
        parts.append(await anext(stream))
        await stream.aclose()
        return parts

    told = asyncio.run(listen())[-1]
    assert b'event: skipped\ndata: {"changes":7}' in told
    assert told.count(b"event: change") == QUEUE_MAX
    model.close()


def test_who_missed_too_much_begins_anew(shop: Shop) -> None:
    model, hub = hub_of(shop)
    record = published(shop)[0]
    model.store_changes(Batch("t", 0, 1, b""), [record] * (RESUMED_MAX + 1))

    async def listen() -> bytes:
        stream = hub.stream(lambda _: True, f"{model.history.generation}.0", None)
        await anext(stream)
        part = await anext(stream)
        await stream.aclose()
        return part

    assert b"event: reset" in asyncio.run(listen())
    model.close()


def test_streams_are_limited_in_all_and_for_each_client(shop: Shop) -> None:
    model, hub = hub_of(shop, streams_max=3, streams_per_client=2)
    with hub.admitted("a"), hub.admitted("a"):
        with pytest.raises(ProblemError) as refused, hub.admitted("a"):
            pass
        assert refused.value.status == 503
        with hub.admitted("b"), pytest.raises(ProblemError), hub.admitted("c"):
            pass
    assert hub.stream_count == 0
    model.close()


def test_a_stream_over_the_limit_is_refused_with_a_status(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    make_log(path)
    model = ReadModel(shop.source.policy, TOPICS)
    with running(following_api(model, WebSettings(streams_max=0), make_log(path))) as address:
        response = httpx.get(address + STREAM)
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == "too_many_streams"
