"""A comparison from files to files: every figure against a recount, and the same results however it is run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stream_app.backtest.comparison.policies import load_policies
from stream_app.backtest.comparison.run import ComparisonRun, run_comparison
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.backtest.shards import Shards
from stream_app.domain.effects import Effects
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from tests.backtest.compared_policies import CAREFUL, EAGER, OTHER_TIERS, write_policies
from tests.backtest.conftest import RUN_STARTED_MS

DAY_45_MS = 1_704_067_200_000 + 45 * MS_PER_DAY
TIERS = {"value": ["small", "big", "vip"], "growth": ["declining", "steady", "growing"]}


def settings_for(log: Path, out: Path, policy: Policy, **overrides: Any) -> BacktestSettings:
    defaults = BacktestSettings(
        patterns=(str(log),), policy=policy, out=out, run_started_ms=RUN_STARTED_MS, tick_ms=MS_PER_DAY
    )
    return replace(defaults, **overrides)


def compare(log: Path, out: Path, paths: list[Path], **overrides: Any) -> ComparisonRun:
    policies = load_policies(paths, None)
    return run_comparison(settings_for(log, out, policies[0].policy, **overrides), policies)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_policies(tmp_path_factory.mktemp("policies"), careful=CAREFUL, eager=EAGER, other=OTHER_TIERS)


@pytest.fixture(scope="module")
def out(shop_log: Path, paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    compare(shop_log, folder, paths[:2])
    return folder


@pytest.fixture(scope="module")
def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "comparison.json").read_bytes())
    return found


def changes_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "changes.jsonl").read_bytes().splitlines()]


def segments_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["customer_id"]: row for row in pq.read_table(folder / "segments.parquet").to_pylist()}


def test_each_policy_gets_the_results_of_a_run_of_its_own(
    shop_log: Path, paths: list[Path], out: Path, tmp_path: Path
) -> None:
    policy = load_policies(paths[:2], None)[1].policy
    run_backtest(settings_for(shop_log, tmp_path, policy))

    assert (out / "eager" / "changes.jsonl").read_bytes() == (tmp_path / "changes.jsonl").read_bytes()
    for name in ("segments.parquet",):
        assert pq.read_table(out / "eager" / name).equals(pq.read_table(tmp_path / name))
    assert {path.name for path in (out / "eager").iterdir()} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in out.iterdir()} == {"careful", "eager", "comparison.json", "report.html"}


def test_figures_of_each_policy_are_those_of_its_own_summary(out: Path, document: dict[str, Any]) -> None:
    for name in ("careful", "eager"):
        summary = json.loads((out / name / "summary.json").read_bytes())
        for place, axis in enumerate(document["axes"]):
            own, figures = summary["axes"][place], axis["policies"][name]
            assert axis["axis"] == own["axis"]
            assert figures["populations"] == own["populations"]
            assert figures["flaps"] == own["flaps"]
            assert figures["changes"]["total"] == own["changes"]["total"]
            assert figures["changes"]["per_day"] == own["changes"]["per_day"]
            assert figures["revenue_share"] == own["revenue"]["share_by_tier"]
            for tier, lift in figures["revenue_lift"].items():
                share = own["customer_share_by_tier"][tier]
                assert lift == pytest.approx(own["revenue"]["share_by_tier"][tier] / share)


def test_predictions_of_each_policy_are_those_of_its_own_summary(out: Path, document: dict[str, Any]) -> None:
    for name in ("careful", "eager"):
        told = json.loads((out / name / "summary.json").read_bytes())["predictions"]
        figures = document["predictions"][name]
        assert figures["horizon_days"] == told["methods"]["horizon_days"]
        assert figures["cutoffs"] == len(told["methods"]["cutoffs"]) > 0
        assert figures["held_cap20"] == told["methods"]["held_cap20"]
        for figure in ("normalized_gini", "cap20", "hit20", "buy_auc", "growth_auc", "growth_lift10"):
            assert figures[figure] == told["methods"]["means"]["scores"][figure]


def test_the_matrix_and_the_directions_are_those_of_the_segments(out: Path, document: dict[str, Any]) -> None:
    first, second = segments_of(out / "careful"), segments_of(out / "eager")
    (pair,) = document["pairs"]
    assert (pair["first"], pair["second"]) == ("careful", "eager")
    assert first.keys() == second.keys()
    for axis in pair["axes"]:
        column = f"{axis['axis']}_tier"
        expected = Counter((first[each][column], second[each][column]) for each in first)
        told = {(one, other): count for one, row in axis["matrix"].items() for other, count in row.items() if count}
        assert told == dict(expected)
        tiers = TIERS[axis["axis"]]
        rated = [pair for pair in expected.elements() if set(pair) <= set(tiers)]
        assert axis["rated_under_both"] == len(rated) > 100
        assert axis["higher"] == sum(tiers.index(other) > tiers.index(one) for one, other in rated)
        assert axis["lower"] == sum(tiers.index(other) < tiers.index(one) for one, other in rated)
        assert axis["differing"] == axis["higher"] + axis["lower"]
        assert axis["differing_share"] == axis["differing"] / len(rated)
    assert pair["axes"][0]["higher"] > 0


def test_examples_differ_as_told_and_carry_their_last_change_with_its_reasons(
    out: Path, document: dict[str, Any]
) -> None:
    (pair,) = document["pairs"]
    assert len(pair["examples"]) >= 2
    assert len({each["customer_id"] for each in pair["examples"]}) == len(pair["examples"])
    for example in pair["examples"]:
        axis = example["axis"]
        for name, tier in (("careful", "first_tier"), ("eager", "second_tier")):
            row = segments_of(out / name)[example["customer_id"]]
            view = example["policies"][name]
            assert view["segment"] == {each: row[f"{each}_tier"] for each in TIERS}
            assert view["segment"][axis] == example[tier]
            assert view["score"] == row[f"{axis}_score"]
            own = [
                change
                for change in changes_of(out / name)
                if change["customer_id"] == example["customer_id"] and change["axis"] == axis
            ]
            assert view["last_change"] == own[-1]
            assert own[-1]["reasons"]


def test_customers_are_counted_by_the_treatment_that_their_segment_has(out: Path, document: dict[str, Any]) -> None:
    for name in ("careful", "eager"):
        rows = segments_of(out / name).values()
        expected = Counter((row["treatment_channel"], row["treatment_action"]) for row in rows)
        rules = document["treatments"][name]["rules"]
        assert Counter({(rule["channel"], rule["action"]): rule["customers_end"] for rule in rules}) == expected
        human = sum(count for (channel, _), count in expected.items() if channel == "human")
        assert document["treatments"][name]["human_customers"]["end"] == human > 0


def test_handovers_are_the_moments_in_which_the_treatment_turns_human(
    paths: list[Path], out: Path, document: dict[str, Any]
) -> None:
    for compared in load_policies(paths[:2], None):
        policy = compared.policy
        counts, by_day = Counter[str](), Counter[str]()
        for (_, moment), group in groupby(
            changes_of(out / compared.name),
            # An event and a confirmation that ends with it are one moment: only the first names the event as trigger.
            key=lambda change: (change["customer_id"], change["effective_at"] + str(change["source"])),
        ):
            told = list(group)
            after = told[-1]["segment"]
            before = after | {change["axis"]: change["from_tier"] or "unrated" for change in told}
            channels = [
                policy.treatment_for(tuple(segment[axis] for axis in policy.axis_names)).channel
                for segment in (before, after)
            ]
            counts[" to ".join(channels)] += 1
            by_day[moment[:10]] += channels == ["digital", "human"]
        handovers = document["treatments"][compared.name]["handovers"]
        assert handovers["to_people"] == counts["digital to human"] > 0
        assert handovers["back"] == counts["human to digital"] > 0
        busiest = handovers["busiest_day"]
        assert busiest["to_people"] == max(by_day.values())
        assert busiest["day"][:10] == min(day for day in by_day if by_day[day] == max(by_day.values()))
        # Prospects and the unrated are served digitally here, so whoever has a person was handed over.
        human = document["treatments"][compared.name]["human_customers"]["end"]
        assert handovers["to_people"] - handovers["back"] == human


@dataclass
class NaiveMarks:
    """Writes everybody down, customer by customer, every 28 days."""

    policy: Policy
    shards: Shards
    marks: list[dict[bytes, dict[str, Any]]] = field(default_factory=list)
    next_ms: int = 0

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None: ...

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None: ...

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        if time_ms % MS_PER_DAY or time_ms < self.next_ms:
            return
        self.next_ms = time_ms + 28 * MS_PER_DAY
        everybody: dict[bytes, dict[str, Any]] = {}
        for engine in self.shards.engines:
            for customer, row, states in zip(
                engine.table.ids.tolist(), engine.table.rows, engine.states().tolist(), strict=True
            ):
                ranks = []
                for place, axis in enumerate(self.policy.axes):
                    lines = knowledge.axes[axis.name]
                    cuts = [] if lines is None else lines.cut_points.tolist()
                    ranks.append(None if lines is None else sum(float(row["score"][place]) >= cut for cut in cuts))
                everybody[customer] = {
                    "held": [None if state < 0 else state for state in states],
                    "ranks": ranks,
                    "scores": row["score"].tolist(),
                    "spend": float(row["gross_spend"]),
                    "channel": self.policy.treatment_for(self.policy.name_segment(states)).channel,
                }
        self.marks.append(everybody)


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def naive(
    request: pytest.FixtureRequest, shop_log: Path, paths: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> NaiveMarks:
    policy = load_policies(paths[:2], None)[0].policy
    watches: list[NaiveMarks] = []

    def watch(shards: Shards) -> NaiveMarks:
        watches.append(NaiveMarks(policy, shards))
        return watches[0]

    settings = settings_for(shop_log, tmp_path_factory.mktemp("naive"), policy, shard_count=request.param)
    run_backtest(settings, None, watch)
    return watches[0]


def test_the_price_of_hysteresis_is_that_of_a_recount(naive: NaiveMarks, document: dict[str, Any]) -> None:
    assert len(naive.marks) == 5
    for place, axis in enumerate(document["axes"]):
        told = axis["policies"]["careful"]["hysteresis"]
        off = rated = moved_held = moved_rank = paired = 0
        revenue, by_rank, by_held = 0.0, [0.0, 0.0], [0.0, 0.0]
        for before, now in zip(naive.marks[:-1], naive.marks[1:], strict=True):
            people = {
                who: each for who, each in before.items() if None not in (each["held"][place], each["ranks"][place])
            }
            spent = {who: now[who]["spend"] - before[who]["spend"] for who in people}
            off += sum(each["held"][place] != each["ranks"][place] for each in people.values())
            rated += len(people)
            revenue += sum(spent.values())
            order = sorted(people, key=lambda who: (people[who]["held"][place], people[who]["scores"][place]))
            for edge in range(2):
                above = [who for who in people if people[who]["ranks"][place] > edge]
                by_rank[edge] += sum(spent[who] for who in above)
                by_held[edge] += sum(spent[who] for who in order[len(order) - len(above) :])
            for who, each in people.items():
                paired += 1
                moved_held += now[who]["held"][place] != each["held"][place]
                moved_rank += now[who]["ranks"][place] != each["ranks"][place]
        assert rated > 100
        assert told["marks"] == 4
        assert told["customers_off_their_rank"] == off / rated
        assert told["customers_moved_with"] == moved_held / paired
        assert told["customers_moved_without"] == moved_rank / paired
        for edge, figures in enumerate(told["edges"]):
            assert figures["revenue_share_without"] == pytest.approx(by_rank[edge] / revenue)
            assert figures["revenue_share_with"] == pytest.approx(by_held[edge] / revenue)
            assert figures["price"] == pytest.approx((by_rank[edge] - by_held[edge]) / revenue, abs=1e-12)


def test_the_growth_lift_is_that_of_a_recount(naive: NaiveMarks, document: dict[str, Any]) -> None:
    for place, axis in enumerate(document["axes"]):
        told = axis["policies"]["careful"]["growth_lift"]
        customers, grown = Counter[int](), Counter[int]()
        for first, middle, last in zip(naive.marks[:-2], naive.marks[1:-1], naive.marks[2:], strict=True):
            for who, each in middle.items():
                if each["held"][place] is None:
                    continue
                before = each["spend"] - (first[who]["spend"] if who in first else 0.0)
                after = last[who]["spend"] - each["spend"]
                customers[each["held"][place]] += 1
                grown[each["held"][place]] += after > before + 1e-6
        base = grown.total() / customers.total()
        for tier, name in enumerate(TIERS[axis["axis"]]):
            assert told[name] == pytest.approx(grown[tier] / customers[tier] / base)


def test_the_mean_of_human_attention_is_that_of_a_recount(naive: NaiveMarks, document: dict[str, Any]) -> None:
    human = [sum(each["channel"] == "human" for each in mark.values()) for mark in naive.marks]

    told = document["treatments"]["careful"]["human_customers"]["mean"]
    assert told == pytest.approx(sum(human) / len(human))


def test_two_comparisons_and_any_number_of_shards_give_the_same_bytes(
    shop_log: Path, paths: list[Path], out: Path, tmp_path: Path
) -> None:
    compare(shop_log, tmp_path, paths[:2], shard_count=3)

    for name in ("comparison.json", "report.html", "eager/changes.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_marks_and_changes_before_the_output_are_not_counted(
    shop_log: Path, paths: list[Path], out: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    late = compare(shop_log, tmp_path, paths[:2], from_ms=DAY_45_MS).document

    for name in ("careful", "eager"):
        begin = "2024-02-15T00:00:00.000Z"
        expected = [change for change in changes_of(out / name) if change["effective_at"] >= begin]
        assert changes_of(tmp_path / name) == expected
        told, whole = late["treatments"][name], document["treatments"][name]
        assert 0 < told["handovers"]["to_people"] < whole["handovers"]["to_people"]
        assert told["human_customers"]["end"] == whole["human_customers"]["end"]
        assert told["handovers"]["busiest_day"]["day"] >= "2024-02-15"
    assert [axis["policies"]["careful"]["hysteresis"]["marks"] for axis in late["axes"]] == [2, 2]
    assert late["pairs"][0]["axes"] == document["pairs"][0]["axes"]
    assert late["log"]["output_from"] == "2024-02-15T00:00:00Z"


def test_only_what_is_comparable_is_compared_and_the_rest_is_said(
    shop_log: Path, paths: list[Path], tmp_path: Path
) -> None:
    document = compare(shop_log, tmp_path, [paths[0], paths[2], paths[1]]).document

    assert [(pair["first"], pair["second"]) for pair in document["pairs"]] == [
        ("careful", "other"),
        ("careful", "eager"),
    ]
    (value,) = document["pairs"][0]["axes"]
    assert value["higher"] is value["lower"] is None
    assert value["matrix"]["vip"].keys() == {"small", "good", "big", "vip", "prospect", "unrated", "not in the log"}
    assert document["axes"][1]["policies"]["other"] is None
    notes = " ".join(document["notes"])
    assert "Only careful has the axis growth, other has not: it stands alone." in notes
    assert "small < big < vip in careful and small < good < big < vip in other" in notes
    assert "careful and other look back or ahead by other spans" in notes


def test_policies_that_understand_events_differently_are_told_apart(
    shop_log: Path, paths: list[Path], tmp_path: Path
) -> None:
    blind = '\n[events.types]\nbrowse = { family = "ignore" }\nview = { family = "ignore" }\n'
    (path,) = write_policies(tmp_path, blind=CAREFUL + blind)
    document = compare(shop_log, tmp_path / "out", [paths[0], path]).document

    notes = " ".join(document["notes"])
    assert "careful and blind understand events differently" in notes
    assert "the two runs saw different events" in notes
    assert "events.types.browse" in {each["setting"] for each in document["differences"]}
    first, second = segments_of(tmp_path / "out" / "careful"), segments_of(tmp_path / "out" / "blind")
    matrix = document["pairs"][0]["axes"][0]["matrix"]
    assert matrix["prospect"]["not in the log"] == len(first.keys() - second.keys())


def test_the_same_policy_twice_is_said_to_differ_in_nothing(shop_log: Path, paths: list[Path], tmp_path: Path) -> None:
    document = compare(shop_log, tmp_path, [paths[0], paths[0]]).document

    assert [policy["name"] for policy in document["policies"]] == ["careful", "careful-2"]
    assert "careful and careful-2 say the same: nothing can differ." in document["notes"]
    assert document["differences"] == []
    assert [axis["differing"] for axis in document["pairs"][0]["axes"]] == [0, 0]
    assert document["pairs"][0]["examples"] == []
    assert document["axes"][0]["policies"]["careful"] == document["axes"][0]["policies"]["careful-2"]


@pytest.mark.parametrize("option", ["save_state", "load_state"])
def test_a_state_and_several_policies_do_not_go_together(
    shop_log: Path, paths: list[Path], tmp_path: Path, option: str
) -> None:
    with pytest.raises(SettingsError, match="a state belongs to one policy"):
        compare(shop_log, tmp_path, paths[:2], **{option: tmp_path / "state.npz"})

    assert list(tmp_path.iterdir()) == []


def test_one_policy_is_no_comparison(shop_log: Path, paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least two policies"):
        compare(shop_log, tmp_path, paths[:1])


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_replayed(
    shop_log: Path, paths: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "eager").write_text("a file stands in the way")

    with pytest.raises(SettingsError, match="eager cannot be written"):
        compare(shop_log, tmp_path, paths[:2])

    assert list((tmp_path / "careful").iterdir()) == []
