"""Features, growth scores and the knowledge that carries their models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_app.adapters.knowledge_json import decode_knowledge, encode_knowledge
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.credibility import SpendPopulation
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.features import BASE_NAMES, GROWTH_NAMES
from stream_app.domain.history import FeatureLayout, history_of
from stream_app.domain.knowledge import Knowledge, LearnedCount, LearnedProbability, Scoring
from stream_app.domain.linear_score import LinearWeights, Stack, column_score, log_odds, probabilities
from stream_app.domain.outlook import Customers, Outlook
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.purchase_model import PurchaseParameters
from stream_app.domain.reasons import Evidence, spend_expected, spend_learned
from stream_app.domain.rows import RowBlock, take_rows
from stream_app.domain.scores import (
    SCORES,
    ValueScore,
    build_functions,
    first_scoring,
    growth_probability_of,
    value_of,
    weigh,
    weights_for,
)
from stream_app.engine import Engine
from stream_app.learning.blending import PAST_SHARES
from stream_app.learning.learner import Learner
from tests.unit.test_scoring_switch import START_MS, batch_of

POLICY = load_policy(None)
LAYOUT = FeatureLayout.from_policy(POLICY)
FUNCTIONS = build_functions(POLICY, SCORES)
CUSTOMERS = 500
NOW_MS = START_MS + 200 * MS_PER_DAY


@pytest.fixture(scope="module")
def rows() -> RowBlock:
    """Give customers after 200 days of purchases, each with kept totals."""
    engine, knowledge = Engine(POLICY), Learner(POLICY).knowledge
    random = np.random.default_rng(3)
    for day in range(200):
        now = START_MS + day * MS_PER_DAY
        engine.tick(now, knowledge)
        engine.apply(batch_of(random.integers(0, CUSTOMERS, 20), now, random.lognormal(3, 1, 20)), knowledge)
    return engine.table.rows.copy()


def weights_of(count: int, seed: int) -> LinearWeights:
    random = np.random.default_rng(seed)
    return LinearWeights(random.normal(2, 1, count), random.random(count) + 0.5, random.normal(0, 0.1, count), -1.25)


def scoring() -> Scoring:
    """Give a scoring with every model there is."""
    return Scoring(
        version=3,
        weights=weights_for(FUNCTIONS, Evidence.LABELS, 0.5),
        population=PopulationModel(PurchaseParameters(0.3, 7.1, 0.7, 2.9), SpendPopulation(33.3, 0.41, 0.37)),
        buy=LearnedProbability(weights_of(len(BASE_NAMES), 1), Stack(0.1, 0.6, 0.5)),
        growth=LearnedProbability(weights_of(len(GROWTH_NAMES), 2), Stack(-0.2, 0.7, 0.4)),
        count=LearnedCount(weights_of(len(BASE_NAMES), 3), 1.0 / 3.0),
        label_count=5_000,
    )


def customers_of(rows: RowBlock) -> Customers:
    return Customers(rows, np.full(len(rows), NOW_MS), scoring(), LAYOUT)


def test_windows_of_whole_periods_are_exact_at_a_snapshot_and_never_more_than_all() -> None:
    engine, knowledge = Engine(POLICY), Learner(POLICY).knowledge
    spent: dict[int, float] = {}
    taken = []
    for day in range(200):
        now = START_MS + day * MS_PER_DAY
        effects = engine.tick(now, knowledge)
        taken += [effects.snapshots] if effects.snapshots is not None else []
        spent[day] = float(day + 1)
        engine.apply(batch_of(np.array([7]), now, np.array([spent[day]])), knowledge)

    for snapshot in taken[3:]:
        day = int(snapshot.times_ms[0] - START_MS) // MS_PER_DAY
        history = history_of(LAYOUT, snapshot.rows, snapshot.times_ms)
        for periods in (1, 2, 3):
            window = history[LAYOUT.places[f"spend_window_{periods}"], 0]
            assert window == pytest.approx(sum(spent[known] for known in range(day - 28 * periods, day)))


@pytest.mark.parametrize("size", [1, 3, 64, 499])
def test_a_customer_is_scored_the_same_to_the_bit_in_any_block(rows: RowBlock, size: int) -> None:
    whole = customers_of(rows)
    parts = [
        customers_of(take_rows(rows, part)) for part in np.split(np.arange(len(rows)), range(size, len(rows), size))
    ]
    for name, function in FUNCTIONS.items():
        _, expected = weigh(function.bases(whole), whole.scoring.weights[name])
        scores = [weigh(function.bases(part), part.scoring.weights[name])[1] for part in parts]
        assert np.array_equal(np.concatenate(scores), expected)


def test_the_learner_predicts_from_a_snapshot_what_the_engine_scores(rows: RowBlock) -> None:
    history = history_of(LAYOUT, rows, np.full(len(rows), NOW_MS))
    pending = Outlook(LAYOUT, history, scoring())
    scored = customers_of(rows).outlook

    assert np.array_equal(pending.features, scored.features)
    assert np.array_equal(pending.buy_probability, scored.buy_probability)
    assert np.isfinite(pending.features).all()


def test_the_growth_score_is_the_combined_probability_and_its_terms_add_up_to_it(rows: RowBlock) -> None:
    customers, growth = customers_of(rows), scoring().growth
    assert growth is not None
    terms, scores = weigh(FUNCTIONS["growth"].bases(customers), customers.scoring.weights["growth"])

    outlook = customers.outlook
    learned = np.clip(column_score(growth.weights, outlook.features), -8.0, 8.0)
    formula = log_odds(outlook.formula.growth_probability)
    combined = growth.stack.intercept + growth.stack.learned_weight * learned + growth.stack.model_weight * formula
    np.testing.assert_allclose(growth_probability_of(scores), probabilities(combined), rtol=1e-9)
    np.testing.assert_allclose(terms.sum(axis=1), scores, rtol=1e-12)
    assert (scores > 0.0).all()


def test_knowledge_with_every_model_reads_back_to_the_bit_and_is_small() -> None:
    lines = Learner(POLICY).knowledge.axes
    written = encode_knowledge(Knowledge(9, POLICY.content_hash, START_MS, scoring(), lines, sample_limit=2**31 + 1))

    read = decode_knowledge(written)

    assert encode_knowledge(read) == written
    assert read.sample_limit == 2**31 + 1
    assert len(written) < 50_000


def test_who_has_bought_nothing_is_expected_to_buy_nothing() -> None:
    nobody = np.zeros(2, dtype=Engine(POLICY).table.rows.dtype)
    outlook = customers_of(nobody).outlook

    assert outlook.expected_purchases.tolist() == [0.0, 0.0]
    assert outlook.buy_probability.tolist() == [0.0, 0.0]
    assert np.isfinite(outlook.features).all()


@pytest.mark.parametrize(("labels", "learned_part"), [(1, 0.0), (5_000, 1.0 / 3.0), (50_000_000, 0.5)])
def test_expected_purchases_lie_between_formula_and_learned_count_by_how_far_that_is_believed(
    rows: RowBlock, labels: int, learned_part: float
) -> None:
    count = LearnedCount(weights_of(len(BASE_NAMES), 3), 30.0)
    told = replace(scoring(), label_count=labels, count=count)
    outlook = Customers(rows, np.full(len(rows), NOW_MS), told, LAYOUT).outlook
    learned, formula = outlook.learned_purchases, outlook.formula.purchases.expected_purchases
    assert learned is not None
    assert not np.allclose(learned, formula, rtol=0.1)

    mean = np.exp((1.0 - learned_part) * np.log(formula) + learned_part * np.log(learned))
    np.testing.assert_allclose(outlook.expected_purchases, np.maximum(mean, outlook.buy_probability), rtol=1e-4)
    assert (mean > outlook.buy_probability).any()


@pytest.mark.parametrize("evidence", Evidence)
def test_past_spends_count_by_their_share_and_alone_until_there_are_forecasts(evidence: Evidence) -> None:
    recent, year, expected, learned = weights_for(FUNCTIONS, evidence, past_share=0.25)["value"]

    assert recent == year
    assert (expected, learned) == pytest.approx(
        {Evidence.NONE: (0.0, 0.0), Evidence.SNAPSHOTS: (4 * recent, 0.0), Evidence.LABELS: (4 * recent, 4 * recent)}[
            evidence
        ]
    )
    assert first_scoring(POLICY, FUNCTIONS).past_share == 1.0


@pytest.mark.parametrize("evidence", Evidence)
@pytest.mark.parametrize("past_share", PAST_SHARES)
def test_value_stays_on_one_scale_whatever_its_terms_weigh(evidence: Evidence, past_share: float) -> None:
    told = weights_for(FUNCTIONS, evidence, 0.3, past_share)

    assert sum(told["value"]) == pytest.approx(1.0)
    assert told["growth"] == weights_for(FUNCTIONS, evidence)["growth"]


def test_a_score_all_of_whose_terms_wait_for_evidence_weighs_nothing_before() -> None:
    class Waiting(ValueScore):
        def __init__(self) -> None:
            self.terms = (spend_expected(0.5, 84), spend_learned(0.5, 84))  # type: ignore[assignment]

    told = {evidence: weights_for({"value": Waiting()}, evidence)["value"] for evidence in Evidence}

    assert told == {Evidence.NONE: (0.0, 0.0), Evidence.SNAPSHOTS: (1.0, 0.0), Evidence.LABELS: (0.5, 0.5)}


def test_the_value_of_a_snapshot_is_that_of_its_terms_at_any_share_of_past_spends(rows: RowBlock) -> None:
    told = replace(scoring(), past_share=0.25)
    told = replace(told, weights=weights_for(FUNCTIONS, Evidence.LABELS, told.label_share, told.past_share))
    customers = Customers(rows, np.full(len(rows), NOW_MS), told, LAYOUT)

    _, scores = weigh(FUNCTIONS["value"].bases(customers), told.weights["value"])

    np.testing.assert_allclose(value_of(customers.outlook), scores, rtol=1e-12)


@pytest.mark.parametrize(("labels", "share"), [(0, 0.0), (500, 0.01), (5_000, 0.5), (50_000, 0.99)])
def test_a_few_outcomes_hardly_count_and_many_count_wholly(labels: int, share: float) -> None:
    learned = replace(scoring(), label_count=labels)

    assert learned.label_share == pytest.approx(share, abs=0.001)
