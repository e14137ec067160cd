"""Customers under two policies: every cell of the matrix, and the customers chosen, against counting by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.backtest.comparison.crossing import (
    ABSENT_NAME,
    EXAMPLES_MAX,
    Crossing,
    DifferingCustomer,
    choose_examples,
    cross,
    read_customers,
)
from stream_app.domain.policy import AxisPolicy
from tests.factories import make_axis

Rows = dict[str, tuple[str, float]]
STATES = ("small", "big", "vip", "prospect", "unrated")
FOUR = make_axis(tiers=("small", "good", "big", "top"), cuts=(0.5, 0.8, 0.95))


def write(path: Path, rows: Rows) -> Path:
    ids = sorted(rows, key=str.encode)
    table = {
        "customer_id": pa.array(ids, pa.string()),
        "value_tier": pa.array([rows[each][0] for each in ids], pa.string()),
        "gross_spend": pa.array([rows[each][1] for each in ids], pa.float64()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path


def crossed(
    folder: Path, first: Rows, second: Rows, axes: tuple[AxisPolicy, AxisPolicy] | None = None
) -> tuple[Crossing, list[DifferingCustomer]]:
    paths = write(folder / "first.parquet", first), write(folder / "second.parquet", second)
    return cross(*paths, axes or (make_axis(), make_axis()))


def random_rows(seed: int) -> Rows:
    random = np.random.default_rng(seed)
    return {
        f"c{number}": (STATES[random.integers(5)], float(random.integers(4)))
        for number in range(400)
        if random.random() < 0.9
    }


def test_every_cell_counts_the_customers_with_these_two_states(tmp_path: Path) -> None:
    first, second = random_rows(1), random_rows(2)
    crossing, _ = crossed(tmp_path, first, second)

    absent = (ABSENT_NAME, 0.0)
    expected = Counter((first.get(each, absent)[0], second.get(each, absent)[0]) for each in {**first, **second})
    for row, one in enumerate(crossing.first_states):
        for column, other in enumerate(crossing.second_states):
            assert crossing.counts[row, column] == expected[one, other], (one, other)
    rated = {pair: count for pair, count in expected.items() if set(pair) <= set(STATES[:3])}
    place = STATES.index
    assert crossing.rated_count == sum(rated.values())
    assert crossing.differing_count == sum(count for (one, other), count in rated.items() if one != other)
    assert crossing.higher_count == sum(count for (one, other), count in rated.items() if place(other) > place(one))
    assert crossing.lower_count == sum(count for (one, other), count in rated.items() if place(other) < place(one))


def test_of_each_pair_of_tiers_the_customer_who_spent_most_is_named_most_customers_first(tmp_path: Path) -> None:
    first, second = random_rows(3), random_rows(4)
    _, found = crossed(tmp_path, first, second)

    groups: dict[tuple[str, str], list[str]] = {}
    for each in first.keys() & second.keys():
        pair = (first[each][0], second[each][0])
        if pair[0] != pair[1] and set(pair) <= set(STATES[:3]):
            groups.setdefault(pair, []).append(each)
    expected = [
        DifferingCustomer(
            min(members, key=lambda each: (-first[each][1], each.encode())), "value", one, other, len(members)
        )
        for (one, other), members in groups.items()
    ]
    assert found == sorted(expected, key=lambda each: (-each.customer_count, each.first_tier, each.second_tier))


def test_tiers_of_other_names_are_counted_across_and_none_is_higher(tmp_path: Path) -> None:
    first: Rows = {"a": ("small", 1.0), "b": ("big", 1.0), "c": ("vip", 1.0), "d": ("small", 1.0)}
    second: Rows = {"a": ("small", 1.0), "b": ("big", 1.0), "c": ("top", 1.0), "d": ("good", 1.0)}
    crossing, found = crossed(tmp_path, first, second, (make_axis(), FOUR))

    assert not crossing.is_ordered
    assert (crossing.rated_count, crossing.differing_count) == (4, 2)
    assert {(each.first_tier, each.second_tier) for each in found} == {("vip", "top"), ("small", "good")}


@pytest.mark.parametrize("folder", ["a=1", "b[12]", "c*", "d'e"])
def test_the_name_of_a_folder_is_a_name_and_nothing_else(tmp_path: Path, folder: str) -> None:
    crossing, _ = crossed(tmp_path / folder, {"a": ("small", 1.0)}, {"a": ("big", 1.0)})

    assert (crossing.rated_count, crossing.higher_count) == (1, 1)


def test_without_customers_nothing_is_counted(tmp_path: Path) -> None:
    crossing, found = crossed(tmp_path, {}, {})

    assert not crossing.counts.any()
    assert crossing.differing_share is None
    assert found == []


def test_examples_take_the_axes_in_turn_and_nobody_twice() -> None:
    def told(axis: str, *ids: str) -> list[DifferingCustomer]:
        return [DifferingCustomer(each, axis, "small", "big", 1) for each in ids]

    chosen = choose_examples([told("value", *"abcdefgh"), told("growth", "a", "x"), []])

    assert [(each.customer_id, each.axis) for each in chosen] == [
        ("a", "value"),
        ("b", "value"),
        ("x", "growth"),
        ("c", "value"),
        ("d", "value"),
        ("e", "value"),
    ]
    assert len(chosen) == EXAMPLES_MAX
    assert choose_examples([]) == []


def test_customers_are_read_back_by_their_ids_whatever_these_are(tmp_path: Path) -> None:
    rows: Rows = {"a'b": ("small", 1.0), "Żółć": ("big", 2.0), "c": ("vip", 3.0)}
    found: dict[str, dict[str, Any]] = read_customers(write(tmp_path / "x.parquet", rows), ["a'b", "Żółć", "nobody"])

    assert {each: row["value_tier"] for each, row in found.items()} == {"a'b": "small", "Żółć": "big"}
