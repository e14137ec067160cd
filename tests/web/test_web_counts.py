"""Counts over time, filters and explanations, against naive recounts and the engine's own scores."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from stream_app.domain.history import FeatureLayout
from stream_app.domain.outlook import Customers
from stream_app.web.change_records import HOUR_MS
from stream_app.web.read_model import ReadModel
from stream_app.web.series import step_for
from tests.web.api_client import ApiClient
from tests.web.conftest import Shop
from tests.web.test_web_routes import all_pages, get


def time_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def text_of(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(("axis", "lower", "upper"), [("value", "small", "vip"), ("growth", "declining", "growing")])
def test_changes_are_filtered_by_axis_tiers_cause_and_time(
    client: ApiClient, shop: Shop, axis: str, lower: str, upper: str
) -> None:
    told = shop.source.told
    times = sorted(time_ms(change["effective_at"]) for change in told)
    since, until = times[len(times) // 4], times[3 * len(times) // 4]
    choices = product((None, "none", lower), (None, upper, lower), (None, "event", "time"), (False, True))
    found_any = 0
    for from_tier, to_tier, cause, is_bounded in choices:
        query: dict[str, Any] = {"axis": axis, "from": from_tier, "to": to_tier, "cause": cause}
        if is_bounded:
            query |= {"since": text_of(since), "until": text_of(until)}
        items = all_pages(client, "/v1/changes", limit=200, **{k: v for k, v in query.items() if v is not None})
        expected = [
            change["change_id"]
            for change in told
            if change["axis"] == axis
            and (from_tier is None or change["from_tier"] == (None if from_tier == "none" else from_tier))
            and (to_tier is None or change["to_tier"] == to_tier)
            and (cause is None or change["cause"] == cause)
            and (not is_bounded or since <= time_ms(change["effective_at"]) < until)
        ]
        assert sorted(item["change_id"] for item in items) == sorted(expected)
        found_any += len(expected)
    assert found_any


@pytest.mark.parametrize("points", [1, 7, 40, 200])
def test_populations_over_time_are_sums_of_the_changes(client: ApiClient, shop: Shop, points: int) -> None:
    told = get(client, "/v1/populations", points=points)
    assert 1 <= len(told["times"]) <= points
    step_ms = told["step_seconds"] * 1000
    for axis in told["axes"]:
        tiers = axis["tiers"]
        for place, end in enumerate(told["times"]):
            before = [
                change
                for change in shop.source.told
                if change["axis"] == axis["axis"] and time_ms(change["effective_at"]) < time_ms(end)
            ]
            held = {change["customer_id"]: change["to_tier"] for change in before}
            counts = Counter(held.values())
            assert {tier: axis["customers"][tier][place] for tier in tiers} == {tier: counts[tier] for tier in tiers}
            within = [change for change in before if time_ms(change["effective_at"]) >= time_ms(end) - step_ms]
            moved = Counter(
                "first_rated"
                if change["from_tier"] is None
                else ("rose" if tiers.index(change["to_tier"]) > tiers.index(change["from_tier"]) else "fell")
                for change in within
            )
            assert [axis[name][place] for name in ("rose", "fell", "first_rated")] == [
                moved[name] for name in ("rose", "fell", "first_rated")
            ]


def test_the_last_point_is_the_present_population(client: ApiClient) -> None:
    now = {(own["axis"], own["tier"]): own["customers"] for own in get(client, "/v1/segments")["tiers"]}
    for axis in get(client, "/v1/populations")["axes"]:
        for tier in axis["tiers"]:
            assert axis["customers"][tier][-1] == now[axis["axis"], tier]


def test_a_part_of_the_time_has_the_same_populations(client: ApiClient) -> None:
    whole = get(client, "/v1/populations", points=1000)
    times = whole["times"]
    step_ms = whole["step_seconds"] * 1000
    first, last = len(times) // 3, 2 * len(times) // 3
    part = get(
        client, "/v1/populations", points=1000, since=text_of(time_ms(times[first]) - step_ms), until=times[last]
    )
    ends = {end: place for place, end in enumerate(part["times"])}
    shared = [(place, ends[end]) for place, end in enumerate(times) if end in ends]
    assert shared
    for own, other in zip(whole["axes"], part["axes"], strict=True):
        for tier in own["tiers"]:
            assert [own["customers"][tier][a] for a, _ in shared] == [other["customers"][tier][b] for _, b in shared]


def test_steps_are_the_shortest_that_give_few_enough_points() -> None:
    for first, span, points in product((0, 5, 470_000), (1, 30, 5000, 400_000), (1, 2, 50, 1000)):
        step = step_for(first, first + span, points)
        assert -(-(first + span) // step) - first // step <= points + 1
        assert step == 1 or span // step <= points
    assert step_for(0, 10, 10) == 1
    assert step_for(0, 48, 10) == 6


def test_migrations_of_a_part_of_the_time_are_counted_by_whole_hours(client: ApiClient, shop: Shop) -> None:
    times = sorted(time_ms(change["effective_at"]) for change in shop.source.told)
    since, until = times[len(times) // 3], times[len(times) // 2]
    told = get(client, "/v1/migrations", axis="value", since=text_of(since), until=text_of(until))
    first, end = since // HOUR_MS * HOUR_MS, -(-until // HOUR_MS) * HOUR_MS
    assert (time_ms(told["since"]), time_ms(told["until"])) == (first, end)
    counts = Counter(
        (change["from_tier"], change["to_tier"], change["cause"])
        for change in shop.source.told
        if change["axis"] == "value" and first <= time_ms(change["effective_at"]) < end
    )
    assert {
        (own["from_tier"], own["to_tier"], cause): count
        for own in told["axes"][0]["migrations"]
        for cause, count in own["causes"].items()
    } == dict(counts)


def test_contributions_add_up_to_the_engines_own_score(client: ApiClient, model: ReadModel, shop: Shop) -> None:
    knowledge = shop.source.replay.in_force
    explained = 0
    for engine in shop.source.engines:
        for block in engine.scored(engine.last_tick_ms, knowledge):
            for place in range(0, len(block.customer_ids), 23):
                name = block.customer_ids[place].decode()
                why = get(client, f"/v1/customers/{quote(name, safe='')}/why")
                for axis, score in zip(why["axes"], block.scores[place].tolist(), strict=True):
                    if np.isnan(score):
                        assert axis["score"] is None
                        continue
                    explained += 1
                    assert axis["score"] == score
                    total = sum(own["contribution"] for own in axis["contributions"])
                    assert total == pytest.approx(score - axis["typical_score"], abs=1e-9)
                    sizes = [abs(own["contribution"]) for own in axis["contributions"]]
                    assert sizes == sorted(sizes, reverse=True)
                    _check_lines(axis, model)
                if why["expectation"] is not None:
                    assert why["expectation"]["expected_spend"] == float(block.outlook.expected_spend[place])
    assert explained > 20


def _check_lines(axis: dict[str, Any], model: ReadModel) -> None:
    """The lines told are those of the knowledge: to the next tier above and below."""
    knowledge = model.knowledge_of(0)
    assert knowledge is not None
    lines = knowledge.axes[axis["axis"]]
    assert lines is not None
    tiers = model.policy.axes[model.policy.axis_names.index(axis["axis"])].tiers
    held = tiers.index(axis["tier"])
    told = {own["direction"]: own for own in axis["next"]}
    assert ("up" in told, "down" in told) == (held + 1 < len(tiers), held > 0)
    if "up" in told:
        assert told["up"]["tier"] == tiers[held + 1]
        assert told["up"]["line"] == lines.promote_lines[held]
    if "down" in told:
        assert told["down"]["tier"] == tiers[held - 1]
        assert told["down"]["line"] == lines.demote_lines[held - 1]
    for own in axis["next"]:
        assert own["distance"] == own["line"] - axis["score"]
        assert own["tier"] in own["text"]


def test_percentiles_are_those_of_the_knowledge_in_force(client: ApiClient, model: ReadModel, shop: Shop) -> None:
    knowledge = model.knowledge_of(0)
    assert knowledge is not None
    # The last renewal came after the last commit of a shard.
    assert knowledge.version == shop.source.replay.in_force.version - 1
    for engine in shop.source.engines:
        for customer_id, row in list(zip(engine.table.ids.tolist(), engine.table.rows, strict=True))[::29]:
            told = get(client, f"/v1/customers/{quote(customer_id.decode(), safe='')}")
            for place, axis in enumerate(told["axes"]):
                lines = knowledge.axes[axis["axis"]]
                if row["purchase_count"] == 0:
                    assert axis["score"] is None
                    assert axis["percentile"] is None
                    continue
                assert lines is not None
                assert axis["score"] == row["score"][place]
                assert axis["percentile"] == round(lines.percentiles(np.array([row["score"][place]]))[0], 3)
            assert told["purchases"]["gross_spend"] == row["gross_spend"]
            assert told["purchases"]["count"] == row["purchase_count"]
            assert time_ms(told["freshness"]["last_event_at"]) == row["clock_ms"]


def test_features_of_a_customer_are_computed_as_of_the_last_tick(model: ReadModel, shop: Shop) -> None:
    engine = shop.source.engines[0]
    place = model.customers.find(bytes(engine.table.ids[0]))
    row = model.customers.rows_at(np.array([place]))
    knowledge = model.knowledge.newest
    assert knowledge is not None
    as_of = np.maximum(row["clock_ms"], engine.last_tick_ms)
    ours = Customers(row, as_of, knowledge.scoring, model.layout).outlook.expected_spend
    theirs = Customers(
        engine.table.rows[:1], as_of, knowledge.scoring, FeatureLayout.from_policy(shop.source.policy)
    ).outlook.expected_spend
    assert ours.tolist() == theirs.tolist()


def test_status_tells_positions_and_knowledge(client: ApiClient, shop: Shop) -> None:
    told = get(client, "/v1/status")
    assert told["state"] == "live"
    assert told["changes"] == len(shop.source.told)
    assert told["events"] == sum(shop.source.events_seen)
    assert told["lag"] == 0
    assert [own["events_position"] for own in told["partitions"]] == shop.source.events_seen
    assert told["knowledge"]["version"] == shop.source.replay.in_force.version
    assert told["policy"]["version"] == shop.source.policy.content_hash
    assert time_ms(told["as_of"]) >= min(engine.last_tick_ms for engine in shop.source.engines)
