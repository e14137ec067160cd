"""Why a customer stands where they stand, and what would change it: the engine's own formulas, run dry on one row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.durations import format_duration
from stream_app.domain.history import PERIOD_DAYS
from stream_app.domain.knowledge import AxisKnowledge, Knowledge
from stream_app.domain.outlook import Customers, Outlook
from stream_app.domain.policy import AxisPolicy
from stream_app.domain.rating import rated, states_of
from stream_app.domain.reasons import Evidence, Scale, explanations
from stream_app.domain.rows import RowBlock
from stream_app.domain.scores import ScoreFunction, growth_bases, growth_probability_of, weigh
from stream_app.web.answers import Candidate
from stream_app.web.read_model import ReadModel
from stream_app.web.standing import candidate_of, finite, told_percentile
from stream_app.web.why_answers import AxisExplanation, Contribution, Expectation, TierLine

_SMALL_FACTOR = 1.005
_PROBABILITIES = {"growth": "the probability of spending more"}
"""Score function to the probability that it shows."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """One customer's fresh score on one axis."""

    axis: AxisPolicy
    function: ScoreFunction
    terms: NDArray[np.float64]
    score: float
    weights: tuple[float, ...]
    lines: AxisKnowledge | None

    def shown(self, score: float) -> float:
        return float(self.function.shown(np.array([score]))[0])

    def percentile(self, score: float) -> float | None:
        return None if self.lines is None else told_percentile(self.lines.percentiles(np.array([score]))[0])


def explain_customer(
    model: ReadModel, row: RowBlock, partition: int
) -> tuple[list[AxisExplanation], Expectation | None]:
    """Score a customer as of now, without changing anything, and tell what came out.

    Parameters
    ----------
    model
        Gives policy, knowledge and time.
    row
        Shape `(1,)`.
    partition
        Where the customer is kept.

    Returns
    -------
    tuple
        An explanation of each axis, in the policy's order, and what is expected of the customer; without knowledge
        no scores and no expectation.
    """
    knowledge = model.knowledge_of(partition)
    is_rated = rated(row, rates_everyone=model.policy.rates_everyone)
    states = states_of(row["held"], is_rated)[0].tolist()
    tiers = model.policy.name_segment(states)
    if knowledge is None or not is_rated[0]:
        explained = [
            _unexplained(axis, tier, candidate_of(row, place, axis))
            for place, (axis, tier) in enumerate(zip(model.policy.axes, tiers, strict=True))
        ]
        return explained, None
    time_ms = max(int(row["clock_ms"][0]), model.progress_of(partition).tick_ms)
    customers = Customers(row, np.array([time_ms], dtype=np.int64), knowledge.scoring, model.layout)
    explained = []
    for place, axis in enumerate(model.policy.axes):
        scored = _score(axis, model.functions[axis.name], customers, knowledge)
        unit = knowledge.scoring.population.amount_unit
        told = _contributions(scored, model.policy.reporting_currency, unit)
        explained.append(_explain(scored, (states[place], tiers[place]), told, candidate_of(row, place, axis)))
    return explained, _expectation(customers.outlook, model)


def _score(axis: AxisPolicy, function: ScoreFunction, customers: Customers, knowledge: Knowledge) -> _Scored:
    weights = knowledge.scoring.weights[axis.name]
    terms, scores = weigh(function.bases(customers), weights)
    return _Scored(axis, function, terms, float(scores[0]), weights, knowledge.axes[axis.name])


def _contributions(scored: _Scored, currency: str, amount_unit: float) -> list[Contribution]:
    """Tell all terms that count, not only those that a change has room for."""
    if scored.lines is None:
        return []
    terms = scored.function.terms
    gains = scored.terms - scored.lines.term_means
    told = explanations(terms, scored.terms, gains, currency, Scale(scored.weights, amount_unit))
    order = np.argsort(-np.abs(gains[0]), kind="stable").tolist()
    return [
        Contribution(term=terms[place].name, contribution=float(gains[0, place]), text=told.texts[place][0])
        for place in order
        if terms[place].since is Evidence.NONE or scored.terms[0, place] != 0.0 or gains[0, place] != 0.0
    ]


def _explain(
    scored: _Scored, held: tuple[int, str], told: list[Contribution], candidate: Candidate | None
) -> AxisExplanation:
    state, tier = held
    typical = None if scored.lines is None else float(scored.lines.term_means.sum())
    lines = _tier_lines(scored, state)
    return AxisExplanation(
        axis=scored.axis.name,
        tier=tier,
        score=scored.score,
        shown_score=scored.shown(scored.score),
        percentile=scored.percentile(scored.score),
        typical_score=typical,
        contributions=told,
        next=lines,
        confirmation=format_duration(scored.axis.confirmation_ms),
        candidate=candidate,
        text=_sentence(scored, tier, told, candidate),
    )


def _unexplained(axis: AxisPolicy, tier: str, candidate: Candidate | None) -> AxisExplanation:
    return AxisExplanation(
        axis=axis.name,
        tier=tier,
        score=None,
        shown_score=None,
        percentile=None,
        typical_score=None,
        contributions=[],
        next=[],
        confirmation=format_duration(axis.confirmation_ms),
        candidate=candidate,
        text=f"{axis.name} is {tier}; there is no score yet.",
    )


def _tier_lines(scored: _Scored, state: int) -> list[TierLine]:
    """Give the lines to the neighbouring tiers; a customer without a tier has none."""
    if scored.lines is None or state < 0:
        return []
    tiers, lines = scored.axis.tiers, scored.lines
    found = []
    if state + 1 < len(tiers):
        found.append(_tier_line(scored, "up", tiers[state + 1], float(lines.promote_lines[state])))
    if state > 0:
        found.append(_tier_line(scored, "down", tiers[state - 1], float(lines.demote_lines[state - 1])))
    return found


def _tier_line(scored: _Scored, direction: str, tier: str, line: float) -> TierLine:
    return TierLine(
        direction="up" if direction == "up" else "down",
        tier=tier,
        line=line,
        distance=line - scored.score,
        percentile=scored.percentile(line),
        text=_line_text(scored, direction, tier, line),
    )


def _line_text(scored: _Scored, direction: str, tier: str, line: float) -> str:
    wait = scored.axis.confirmation_ms
    held = f" and stays so for {format_duration(wait)}" if wait else ""
    is_beyond = scored.score >= line if direction == "up" else scored.score < line
    if is_beyond:
        return f"is already beyond the line to {tier}" + (f"; becomes {tier} if that{held[4:]}" if wait else "")
    counting = sum(weight for weight in scored.weights if weight > 0.0)
    if counting > 0.0 and all(term.is_log_amount for term in scored.function.terms):
        # All terms are logarithms of amounts: a step of the score is a factor on all of them.
        factor = math.exp(min(max((line - scored.score) / counting, -50.0), 50.0))
        much = f"{factor:.2g}" if factor < 10 else f"{factor:,.0f}"
        if 1 / _SMALL_FACTOR < factor < _SMALL_FACTOR:
            much = "a little more than" if direction == "up" else "a little less than"
            return f"becomes {tier} if spending, past and expected, is {much} now{held}"
        return f"becomes {tier} if spending, past and expected, is about {much} times what it is now{held}"
    shown, wanted = scored.shown(scored.score), scored.shown(line)
    verb = "rises" if direction == "up" else "falls"
    if shown != scored.score and 0.0 <= wanted <= 1.0:
        what = _PROBABILITIES.get(scored.axis.score, "the probability")
        return f"becomes {tier} if {what} {verb} from {shown:.0%} to {wanted:.0%}{held}"
    return f"becomes {tier} if the score {verb} from {shown:.3g} to {wanted:.3g}{held}"


def _sentence(scored: _Scored, tier: str, told: list[Contribution], candidate: Candidate | None) -> str:
    percentile = scored.percentile(scored.score)
    where = "" if percentile is None else f", higher than {percentile:.1f} % of the rated customers"
    parts = [f"{scored.axis.name} is {tier}{where}."]
    if told:
        leading = told[0]
        side = "raises" if leading.contribution >= 0 else "lowers"
        parts.append(f"What {side} the score most: {leading.text}.")
    if candidate is not None:
        parts.append(f"The score suggests {candidate.tier}; that counts from {candidate.due_at} on, if it stays so.")
    return " ".join(parts)


def _expectation(outlook: Outlook, model: ReadModel) -> Expectation:
    formula = outlook.formula
    score = np.sum(growth_bases(outlook), axis=0)
    return Expectation(
        horizon_days=model.policy.horizon_periods * PERIOD_DAYS,
        alive_probability=float(formula.purchases.alive_probability[0]),
        buy_probability=float(outlook.buy_probability[0]),
        growth_probability=finite(growth_probability_of(score)[0]),
        expected_purchases=float(outlook.expected_purchases[0]),
        expected_spend=float(outlook.expected_spend[0]),
        previous_spend=float(formula.previous_spend[0]),
        currency=model.policy.reporting_currency,
    )
