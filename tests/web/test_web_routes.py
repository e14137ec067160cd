"""Every route of the API tells what the engine and the published changes say, counted again naively."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from stream_app.domain.rating import states_of
from stream_app.web.answers import (
    Answer,
    ChangesAnswer,
    CustomerAnswer,
    DistributionAnswer,
    HistoryAnswer,
    MigrationsAnswer,
    PopulationsAnswer,
    QualityAnswer,
    SegmentCustomersAnswer,
    SegmentsAnswer,
)
from stream_app.web.status_answers import StatusAnswer
from stream_app.web.why_answers import WhyAnswer
from tests.web.api_client import ApiClient
from tests.web.conftest import ODD_IDS, Shop

Segments = dict[str, tuple[str, ...]]


def get(client: ApiClient, path: str, **query: Any) -> Any:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def all_pages(client: ApiClient, path: str, **query: Any) -> list[Any]:
    items, cursor = [], None
    while True:
        page = get(client, path, **query, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


@pytest.fixture(scope="session")
def held(shop: Shop) -> Segments:
    """Each customer's segment, from the engines' tables."""
    found: Segments = {}
    for engine in shop.source.engines:
        rows = engine.table.rows
        states = states_of(rows["held"], rows["purchase_count"] > 0)
        for customer_id, own in zip(engine.table.ids.tolist(), states.tolist(), strict=True):
            found[customer_id.decode()] = shop.source.policy.name_segment(own)
    return found


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/customers/c00000020", CustomerAnswer),
        ("/v1/customers/c00000020/history", HistoryAnswer),
        ("/v1/customers/c00000020/why", WhyAnswer),
        ("/v1/segments", SegmentsAnswer),
        ("/v1/segments/vip/steady/customers", SegmentCustomersAnswer),
        ("/v1/changes", ChangesAnswer),
        ("/v1/migrations", MigrationsAnswer),
        ("/v1/populations", PopulationsAnswer),
        ("/v1/distribution", DistributionAnswer),
        ("/v1/quality", QualityAnswer),
        ("/v1/status", StatusAnswer),
    ],
)
def test_every_answer_is_what_its_description_says(client: ApiClient, path: str, answer: type[Answer]) -> None:
    told = answer.model_validate(get(client, path))
    assert told.as_of is not None


def test_segments_have_the_populations_of_the_engines(client: ApiClient, held: Segments) -> None:
    told = get(client, "/v1/segments")
    counts = {tuple(own["segment"].values()): own["customers"] for own in told["segments"]}
    assert {segment: count for segment, count in counts.items() if count} == dict(Counter(held.values()))
    assert told["customers"] == len(held)


def test_pages_of_a_segment_hold_each_of_its_customers_once_by_falling_score(
    client: ApiClient, shop: Shop, held: Segments
) -> None:
    scores = {
        customer_id.decode(): row["score"]
        for engine in shop.source.engines
        for customer_id, row in zip(engine.table.ids.tolist(), engine.table.rows, strict=True)
    }
    for segment, count in Counter(held.values()).items():
        for place, axis in enumerate(("value", "growth")):
            items = all_pages(client, f"/v1/segments/{'/'.join(segment)}/customers", limit=37, sort=axis)
            names = [item["customer_id"] for item in items]
            assert sorted(names) == sorted(name for name, own in held.items() if own == segment)
            assert len(names) == count
            told = [scores[name][place] for name in names]
            assert told == sorted(told, reverse=True)


def test_every_customer_can_be_looked_up(client: ApiClient, shop: Shop, held: Segments) -> None:
    for name in [*list(held)[::37], *ODD_IDS.values()]:
        if name not in held:
            continue
        told = get(client, f"/v1/customers/{quote(name, safe='')}")
        assert told["customer_id"] == name
        assert tuple(told["segment"].values()) == held[name]
        history = all_pages(client, f"/v1/customers/{quote(name, safe='')}/history", limit=2)
        assert history == [change for change in shop.source.told if change["customer_id"] == name]
        assert told["changes"] == len(history)
        why = get(client, f"/v1/customers/{quote(name, safe='')}/why")
        assert why["customer_id"] == name


def test_changes_are_those_that_were_published_newest_first(client: ApiClient, shop: Shop) -> None:
    items = all_pages(client, "/v1/changes", limit=500)
    assert sorted(item["change_id"] for item in items) == sorted(change["change_id"] for change in shop.source.told)
    times = [item["effective_at"] for item in items]
    assert times == sorted(times, reverse=True)
    by_id = {change["change_id"]: change for change in shop.source.told}
    assert all(item == by_id[item["change_id"]] for item in items)


def test_migrations_count_the_published_changes(client: ApiClient, shop: Shop) -> None:
    told = {
        (axis["axis"], own["from_tier"], own["to_tier"]): own["changes"]
        for axis in get(client, "/v1/migrations")["axes"]
        for own in axis["migrations"]
        if own["changes"]
    }
    assert told == dict(Counter((c["axis"], c["from_tier"], c["to_tier"]) for c in shop.source.told))


def test_quality_is_told_window_by_window(client: ApiClient, shop: Shop) -> None:
    points = get(client, "/v1/quality")["points"]
    figures = shop.source.replay.learner.models.evaluation.closed
    assert [point["example_count"] for point in points] == [own.example_count for own in figures]
    assert [point["time"] for point in points] == sorted(point["time"] for point in points)


def test_the_distribution_counts_every_rated_customer(client: ApiClient, shop: Shop) -> None:
    buckets = np.concatenate([engine.table.rows["bucket"][:, 1] for engine in shop.source.engines])
    told = get(client, "/v1/distribution", axis="growth", bars=7)
    assert sum(told["counts"]) == told["customers"] == np.count_nonzero(buckets >= 0)
    assert len(told["counts"]) <= 7
    assert len(told["edges"]) == len(told["counts"]) + 1
