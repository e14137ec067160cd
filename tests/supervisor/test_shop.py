"""The simulated shop of a run: the same at every start, wherever it is taken up."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from stream_app.domain.errors import SettingsError
from stream_app.supervisor.shop import HISTORY_DAYS, PLAYBACK_DAYS, Shop

TODAY = date(2026, 6, 1)


def events(shop: Shop, position: int = 0, count: int = 300) -> list[tuple[int, bytes, bytes]]:
    told = (
        event
        for part in shop.slices(position)
        for event in zip(part.times_ms.tolist(), part.keys, part.values, strict=True)
    )
    return list(itertools.islice(told, count))


def test_it_opens_so_long_ago_that_there_is_history_and_time_to_watch() -> None:
    shop = Shop.opened(50, 1, TODAY)
    assert shop.start == TODAY - timedelta(days=HISTORY_DAYS + PLAYBACK_DAYS)
    opened_ms = datetime.combine(TODAY, datetime.min.time(), UTC).timestamp() * 1000
    assert shop.history_end_ms == opened_ms - PLAYBACK_DAYS * 86_400_000


def test_it_is_found_again_by_its_identity() -> None:
    shop = Shop.opened(50, 1, TODAY)
    assert Shop.identified(shop.identity) == shop


@pytest.mark.parametrize("identity", ["", "{}", '{"files": [["orders.csv", 10]], "events": 3}', "[1]"])
def test_other_events_are_no_shop(identity: str) -> None:
    with pytest.raises(SettingsError, match="begun with other events"):
        Shop.identified(identity)


def test_it_goes_on_at_any_position() -> None:
    shop = Shop.opened(50, 1, TODAY)
    whole = events(shop)
    for position in (1, 7, 299):
        assert events(shop, position, 300 - position) == whole[position:]


def test_its_events_are_numbered_keyed_by_customer_and_in_order_of_time() -> None:
    told = events(Shop.opened(50, 1, TODAY))
    assert [time_ms for time_ms, _, _ in told] == sorted(time_ms for time_ms, _, _ in told)
    for number, (_, key, value) in enumerate(told):
        event = orjson.loads(value)
        assert event["event_id"] == f"e{number:012d}"
        assert event["customer_id"].encode() == key
