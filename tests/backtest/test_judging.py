"""Scores held against what came, in cases that can be reckoned by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.judging.baselines import quintile_scores
from stream_app.backtest.judging.changes import judge_changes
from stream_app.backtest.judging.figures import Outcome, Prediction, mean_of, method_figures
from stream_app.backtest.judging.gates import Gate, GateSet, Verdict, check_gates
from stream_app.backtest.judging.judgement import SCORES, Judgement
from stream_app.backtest.judging.run import JudgeSettings, run_judgement
from stream_app.backtest.judging.tiers import NO_TIER, exact_rank_tiers, held_cap20, tier_places, tiers_off
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import CutRule
from stream_app.learning.prequential import expected_calibration_error, lift_ratio
from tests.backtest.conftest import RUN_STARTED_MS
from tests.backtest.judging_logs import Event, day, make_log, write_events, write_scores
from tests.factories import make_axis, make_policy

EVENTS: list[Event] = [
    ("ann", 0.5, 10.0),
    ("ann", 5.2, 4.0),
    ("ann", 11.0, 30.0),
    ("ann", 11.9, 5.0),
    ("ben", 1.0, 20.0),
    ("ben", 10.0, 8.0),
    ("cas", 2.0, 50.0),
    ("dot", 12.0, 99.0),
    ("ben", 19.999, 2.0),
    ("ben", 20.0, 400.0),
]
SCORED: list[dict[str, Any]] = [
    {
        "day": 10,
        "customer": "ann",
        "count": 2,
        "value": 3.0,
        "growth": 0.9,
        "purchases": 1.5,
        "spend": 35.0,
        "buy": 0.95,
    },
    {
        "day": 10,
        "customer": "ben",
        "count": 1,
        "value": 2.0,
        "growth": 0.2,
        "purchases": 1.0,
        "spend": 20.0,
        "buy": 0.75,
    },
    {
        "day": 10,
        "customer": "cas",
        "count": 1,
        "value": 9.0,
        "growth": 0.5,
        "purchases": 0.5,
        "spend": 35.0,
        "buy": 0.25,
    },
    {"day": 10, "customer": "dot", "count": 0},
]


def judge(tmp_path: Path, rows: list[dict[str, Any]], days: int = 10, **overrides: Any) -> Judgement:
    events = write_events(tmp_path / "events.csv", EVENTS)
    defaults: dict[str, Any] = {
        "scores": write_scores(tmp_path / "scores.parquet", [row | {"horizon": days} for row in rows]),
        "patterns": (str(events),),
        "policy": load_policy(None),
        "run_started_ms": RUN_STARTED_MS,
        "horizon_ms": days * MS_PER_DAY,
    }
    return run_judgement(JudgeSettings(**(defaults | overrides)))


def test_baskets_are_purchases_of_one_day_and_windows_are_half_open(tmp_path: Path) -> None:
    log = make_log(tmp_path, EVENTS)
    ann, ben = log.find([b"ann", b"ben"])

    spend, baskets = log.spend_and_baskets(day(10), day(20))

    assert (spend[ann], baskets[ann]) == (35.0, 1.0)
    assert (spend[ben], baskets[ben]) == (10.0, 2.0)
    assert (log.start_ms, log.end_ms) == (day(0), day(21))
    assert log.find([b"nobody"]).tolist() == [-1]


def test_refunds_are_no_spend_and_an_event_told_twice_counts_once(tmp_path: Path) -> None:
    log = make_log(
        tmp_path,
        [
            ("ann", 1, 10.0, "purchase", "e1"),
            ("ann", 1.1, 10.0, "purchase", "e1"),
            ("ann", 2, 4.0, "refund", "e2"),
            ("ben", 3, 10.0, "purchase", "e1"),
            ("ben", 4, 1.0, "browse", "e3"),
        ],
    )

    spend, _ = log.spend_and_baskets(day(0), day(9))

    assert log.duplicate_count == 1
    assert spend[log.find([b"ann", b"ben"])].tolist() == [10.0, 10.0]
    assert log.refunds.amounts.tolist() == [4.0]


def test_a_repeated_id_counts_again_after_eight_others_as_in_the_engine(tmp_path: Path) -> None:
    others = [("ann", number, 1.0, "purchase", f"e{number}") for number in range(1, 9)]
    log = make_log(tmp_path, [("ann", 0, 1.0, "purchase", "e0"), *others, ("ann", 9, 1.0, "purchase", "e0")])

    assert log.duplicate_count == 0
    assert log.baskets.purchase_counts.sum() == 10


def test_figures_of_three_customers_are_those_reckoned_by_hand(tmp_path: Path) -> None:
    figures = judge(tmp_path, SCORED).means(SCORES)

    # y: ann 35, ben 10, cas 0; by value cas, ann, ben: heights 0, 35, 45 of 45; at best 35, 45, 45.
    assert figures.normalized_gini == pytest.approx(((80 / 135) - 0.5) / ((125 / 135) - 0.5))
    assert (figures.cap10, figures.cap20, figures.hit20) == (0.0, 0.0, 0.0)
    assert figures.buy_auc == 1.0
    # prev: ann 14, ben 20, cas 50: ann alone has grown, and has the highest growth score.
    assert (figures.growth_auc, figures.growth_auc_active) == (1.0, 1.0)
    assert (figures.growth_lift10, figures.growth_lift10_active) == (3.0, 3.0)
    # Baskets: ann 1, ben 2 (day 10 and 19), cas 0.
    assert figures.count_calibration == pytest.approx(3.0 / 3.0)
    assert figures.spend_calibration == pytest.approx(90.0 / 45.0)
    assert figures.buy_calibration_error == pytest.approx((0.05 + 0.25 + 0.25) / 3)


def test_customers_without_a_purchase_before_the_cutoff_are_not_judged(tmp_path: Path) -> None:
    assert judge(tmp_path, SCORED).cutoffs[0].customer_count == 3


def test_figures_that_the_scores_do_not_have_are_null(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {name: row[name] for name in ("day", "customer", "count", "value") if name in row} for row in SCORED
    ]

    document = judge(tmp_path, rows).as_document()

    means = document["means"][SCORES]
    assert means["normalized_gini"] is not None
    assert means["buy_auc"] is not None
    assert {means[name] for name in means if name.startswith("growth") or "calibration" in name} == {None}
    assert document["means"]["rfm_sum"]["growth_auc"] is not None
    assert "NaN" not in json.dumps(document)


def test_calibration_is_over_the_horizon_that_the_expected_figures_are_for(tmp_path: Path) -> None:
    shorter = [row | {"horizon": 2} for row in SCORED]
    path = write_scores(tmp_path / "shorter.parquet", shorter)

    figures = judge(tmp_path, SCORED, scores=path).means(SCORES)

    # In two days ann bought for 35 on day 11 and ben for 8 on day 10.
    assert figures.spend_calibration == pytest.approx(90.0 / 43.0)
    assert figures.count_calibration == pytest.approx(3.0 / 2.0)


def test_cutoffs_without_a_whole_horizon_are_left_out_and_counted(tmp_path: Path) -> None:
    late = [row | {"day": 12} for row in SCORED]

    judgement = judge(tmp_path, SCORED + late)

    assert [cutoff.cutoff_ms for cutoff in judgement.cutoffs] == [day(10)]
    assert judgement.notes == ("1 later cutoffs have no whole horizon in the log and are left out.",)


def test_no_growth_is_judged_where_the_window_before_begins_before_the_log(tmp_path: Path) -> None:
    judgement = judge(tmp_path, SCORED, days=11, horizon_ms=11 * MS_PER_DAY)

    assert np.isnan(judgement.means(SCORES).growth_auc)
    assert np.isfinite(judgement.means(SCORES).normalized_gini)


def test_purchase_counts_that_differ_from_the_events_are_told(tmp_path: Path) -> None:
    rows = [row | {"count": 7} for row in SCORED]

    notes = judge(tmp_path, rows).notes

    assert any("purchase counts differ" in note for note in notes)


def test_a_customer_without_a_score_ranks_last(tmp_path: Path) -> None:
    figures = judge(tmp_path, [row | {"value": None} if row["customer"] == "ann" else row for row in SCORED]).means(
        SCORES
    )

    # cas 0, ben 10, ann 35 of 45.
    assert figures.normalized_gini == pytest.approx(((55 / 135) - 0.5) / ((125 / 135) - 0.5))


@pytest.mark.parametrize(
    ("rows", "overrides", "words"),
    [
        ([row | {"customer": f"x{row['customer']}"} for row in SCORED], {}, "none of its customers is in the events"),
        (SCORED, {"horizon_ms": 30 * MS_PER_DAY}, "no cutoff from 2024-01-11 to 2024-01-11 has a whole horizon of 30d"),
        (SCORED, {"horizon_ms": MS_PER_DAY // 2}, "take whole days"),
        (SCORED, {"horizon_ms": 0}, "take whole days"),
        ([row | {"count": 0} for row in SCORED], {}, "nobody had bought"),
        ([*SCORED, SCORED[0]], {}, "a customer stands twice"),
        ([row | {"buy": 1.5} for row in SCORED], {}, "buy_probability is not in"),
        ([row | {"value": float("inf")} for row in SCORED], {}, "value_score is infinite"),
        ([row | {"rank": "giant"} for row in SCORED], {}, "--policy"),
        ([row | {"tier": "giant"} for row in SCORED], {}, "--policy"),
        ([], {}, "there is no cutoff"),
        ([row | {"day": 10.5} for row in SCORED], {}, "00:00 UTC"),
        (SCORED, {"changes": Path("nothing.jsonl")}, "cannot be read"),
        (SCORED, {"scores": Path("nothing.parquet")}, "no scores file"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(
    tmp_path: Path, rows: list[dict[str, Any]], overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        judge(tmp_path, rows, **overrides)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_scores_file_is_refused(tmp_path: Path) -> None:
    text, other, odd = tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "c.parquet"
    text.write_text("cutoff,customer_id\n")
    pq.write_table(pa.table({"cutoff": [1], "customer_id": ["a"]}), other)
    pq.write_table(pa.table({"cutoff": ["x"], "customer_id": ["a"], "purchase_count": [1], "value_score": [1.0]}), odd)

    for path, words in ((text, "no scores file"), (other, "no column purchase_count"), (odd, "not a time")):
        with pytest.raises(SettingsError, match=words):
            judge(tmp_path, SCORED, scores=path)


def test_quintiles_give_equal_values_equal_scores() -> None:
    assert quintile_scores(np.arange(10.0)).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert quintile_scores(np.array([1.0, 1.0, 1.0, 7.0])).tolist() == [2, 2, 2, 5]
    assert quintile_scores(np.array([4.0])).tolist() == [3]


def test_lift_is_the_rate_of_the_top_over_the_rate_of_all() -> None:
    is_positive = np.array([True, True, False, False, False, False, False, False, False, True])

    assert lift_ratio(np.arange(10.0), is_positive, 0.2) == pytest.approx(0.5 / 0.3)
    assert np.isnan(lift_ratio(np.arange(10.0), np.zeros(10, dtype=np.bool_), 0.2))


def test_calibration_error_weighs_each_bin_by_its_examples() -> None:
    probability = np.array([0.1, 0.1, 0.15, 0.9, 1.0])
    happened = np.array([False, True, False, True, True])

    # In the bin of .1 the mean is .1167 and the share 1/3; in the last one .95 and 1.
    assert expected_calibration_error(probability, happened) == pytest.approx((3 * (1 / 3 - 0.35 / 3) + 2 * 0.05) / 5)
    assert np.isnan(expected_calibration_error(probability[:0], happened[:0]))


def test_sums_of_the_same_amounts_in_another_order_are_no_growth() -> None:
    outcome = Outcome(np.array([0.1 + 0.2 + 0.3, 2.0]), np.ones(2), np.array([0.3 + 0.2 + 0.1, 1.0]))
    assert outcome.spend[0] > 0.3 + (0.2 + 0.1) - 1e-15

    figures = method_figures(Prediction(growth=np.array([0.0, 1.0])), outcome, None)

    assert figures.growth_auc == 1.0


def test_exact_tiers_never_hold_more_customers_than_their_share_even_with_ties() -> None:
    axis = make_axis()
    distinct = exact_rank_tiers(np.arange(100.0), axis)
    tied = exact_rank_tiers(np.array([1.0] * 70 + [2.0] * 30), axis)

    assert np.bincount(distinct).tolist() == [80, 15, 5]
    assert np.bincount(tied).tolist() == [100]
    absolute = make_axis(cut_rule=CutRule.ABSOLUTE, cuts=(1.0, 2.0), margin=0.0)
    assert exact_rank_tiers(np.array([0.5, 1.0, 2.0]), absolute).tolist() == [0, 1, 2]


def test_rank_tiers_off_is_the_share_of_scored_customers_in_another_tier() -> None:
    axis = make_axis()
    scores = np.append(np.arange(100.0), np.nan)
    ranks = np.append(np.repeat([0, 1, 2], [78, 17, 5]), NO_TIER)

    assert tiers_off(scores, ranks, axis) == pytest.approx(0.02)
    assert np.isnan(tiers_off(scores, np.full(101, NO_TIER), axis))
    assert tier_places(["small", "vip", None, "prospect", "unrated"], axis).tolist() == [0, 2, -1, -1, -1]


def test_the_held_tier_counts_before_the_score() -> None:
    scores, spend = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.array([10.0, 0.0, 0.0, 30.0, 0.0])

    assert held_cap20(scores, np.array([0, 0, 0, 1, 0]), spend) == pytest.approx(0.75)
    assert held_cap20(scores, np.zeros(5, dtype=np.int64), spend) == pytest.approx(0.25)


def changes_file(tmp_path: Path, changes: list[tuple[float, str | None, str]]) -> Path:
    lines = [
        {
            "customer_id": "ann",
            "axis": "value",
            "from_tier": source,
            "to_tier": target,
            "cause": "first_rated" if source is None else "event",
            "effective_at": str(np.datetime64(day(number), "ms")) + "Z",
        }
        for number, source, target in changes
    ]
    path = tmp_path / "changes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("changes", "flap_count"),
    [
        ([(10.0, "small", "big"), (38.0, "big", "small")], 1),
        ([(10.0, "small", "big"), (38.1, "big", "small")], 0),
        ([(10.0, "small", "big"), (12.0, "big", "vip"), (20.0, "vip", "small")], 2),
        ([(10.0, "small", "big"), (12.0, "big", "small"), (20.0, "small", "big")], 2),
        ([(10.0, "big", "small"), (12.0, "small", "vip")], 1),
    ],
)
def test_flaps_are_changes_undone_within_28_days(
    tmp_path: Path, changes: list[tuple[float, str | None, str]], flap_count: int
) -> None:
    path = changes_file(tmp_path, [(0.0, None, changes[0][1] or ""), *changes])

    found = judge_changes(path, (make_axis(),), day(365.25))["value"]

    assert (found.change_count, found.flap_count) == (len(changes), flap_count)
    assert found.changes_per_customer_year == pytest.approx(len(changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}\n", "line 1 is no segment change"),
        ("not json\n", "line 1 is no segment change"),
        ('\n{"customer_id": "a"', "line 2 is no segment change"),
    ],
)
def test_a_file_without_changes_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_text(text)

    with pytest.raises(SettingsError, match=words):
        judge_changes(path, (make_axis(),), day(30))


def test_changes_of_another_policy_are_refused(tmp_path: Path) -> None:
    path = changes_file(tmp_path, [(0.0, None, "small"), (1.0, "small", "vip")])

    with pytest.raises(SettingsError, match="--policy"):
        judge_changes(path, (make_axis(tiers=("low", "high"), cuts=(0.5,)),), day(30))


def verdicts(gates: tuple[Gate, ...]) -> dict[str, Verdict]:
    return {gate.name: gate.verdict for gate in gates}


def test_gates_pass_and_fail_by_the_figures(tmp_path: Path) -> None:
    perfect = [row | {"value": value} for row, value in zip(SCORED, (35.0, 10.0, 0.0, None), strict=True)]

    good = verdicts(check_gates(judge(tmp_path, perfect), GateSet.CDNOW))
    poor = verdicts(check_gates(judge(tmp_path, SCORED), GateSet.CDNOW))

    assert good["nGini within .005 of the best"] is good["normalized_gini on CDNOW"] is Verdict.PASS
    assert poor["nGini within .005 of the best"] is poor["normalized_gini on CDNOW"] is Verdict.FAIL
    assert good["gAUC within .005 of LightGBM"] is Verdict.NOT_MEASURED
    assert good["value flaps on CDNOW"] is Verdict.NOT_MEASURED
    assert good["growth rank tiers off on CDNOW"] is Verdict.FAIL


def test_a_figure_that_the_scores_lack_fails_its_gate(tmp_path: Path) -> None:
    rows = [row | {"growth": None} for row in SCORED]

    assert verdicts(check_gates(judge(tmp_path, rows), GateSet.CDNOW))["growth_auc on CDNOW"] is Verdict.FAIL


def test_the_mean_of_figures_leaves_out_what_is_none() -> None:
    assert mean_of([1.0, float("nan"), 3.0]) == 2.0
    assert np.isnan(mean_of([]))


def test_axes_of_another_policy_than_the_default_are_judged(tmp_path: Path) -> None:
    policy = make_policy(axes=(make_axis(name="worth"),), currency_rates={"USD": 1.0}, reporting_currency="USD")

    assert list(judge(tmp_path, SCORED, policy=policy).cutoffs[0].tiers_off) == ["worth"]
