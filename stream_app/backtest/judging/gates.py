"""What predictions must reach: on any log against the yardsticks beside them, on the CDNOW log in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stream_app.backtest.judging.baselines import RFM_SUM
from stream_app.backtest.judging.comparison import LIGHTGBM
from stream_app.backtest.judging.figures import mean_of
from stream_app.backtest.judging.judgement import GROWTH, SCORES, VALUE, Judgement

BEST_METHOD_SLACK = 0.005
RFM_LEAD = 0.03
HYSTERESIS_COST_MAX = 0.01
CDNOW_FIGURES_MIN = {
    "normalized_gini": 0.700,
    "cap20": 0.700,
    "hit20": 0.525,
    "buy_auc": 0.780,
    "growth_auc": 0.685,
    "growth_auc_active": 0.655,
}
CDNOW_FLAPS_MAX = {VALUE: 0.06, GROWTH: 0.13}
CDNOW_TIERS_OFF_MAX = 0.005


class GateSet(StrEnum):
    """Which gates to hold a judgement against."""

    ANY = "any"
    """Those that are relative to the other methods, for every log."""
    CDNOW = "cdnow"
    """Those, and the figures for the CDNOW log with a horizon of 91 days."""


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Gate:
    """One promise held against the figures.

    Parameters
    ----------
    name
        What is promised.
    figure, bound
        What was found, and what it must reach or keep to; None where there is none.
    verdict
        Passed, failed, or not measured, because what it is compared with was not asked for.
    """

    name: str
    figure: float | None
    bound: float | None
    verdict: Verdict


def check_gates(judgement: Judgement, gate_set: GateSet) -> tuple[Gate, ...]:
    """Hold a judgement against a set of gates.

    Parameters
    ----------
    judgement
        Figures of the scores and of the yardsticks; those compared are averaged over the cutoffs that both have.
    gate_set
        Which gates.

    Returns
    -------
    tuple[Gate, ...]
        A figure that the scores do not have fails its gate; a yardstick that was not asked for leaves it unmeasured.
    """
    gates = [*_relative_gates(judgement)]
    if gate_set is GateSet.CDNOW:
        gates += _cdnow_gates(judgement)
    return tuple(gates)


def _relative_gates(judgement: Judgement) -> list[Gate]:
    others = [name for name in judgement.method_names if name != SCORES]
    cost = mean_of([cutoff.methods[SCORES].cap20 - cutoff.held_cap20 for cutoff in judgement.cutoffs])
    return [
        _against("nGini within .005 of the best", judgement, "normalized_gini", others, -BEST_METHOD_SLACK),
        _against("cap20 within .005 of the best", judgement, "cap20", others, -BEST_METHOD_SLACK),
        _against("nGini .03 above the RFM sum", judgement, "normalized_gini", [RFM_SUM], RFM_LEAD),
        _against("gAUC within .005 of LightGBM", judgement, "growth_auc", [LIGHTGBM], -BEST_METHOD_SLACK),
        _at_most("hysteresis costs at most .01 of cap20", cost, HYSTERESIS_COST_MAX),
    ]


def _cdnow_gates(judgement: Judgement) -> list[Gate]:
    means = judgement.means(SCORES)
    gates = [_at_least(f"{name} on CDNOW", getattr(means, name), least) for name, least in CDNOW_FIGURES_MIN.items()]
    for axis, most in CDNOW_FLAPS_MAX.items():
        name = f"{axis} flaps on CDNOW"
        if judgement.changes is None:
            gates.append(Gate(name, None, most, Verdict.NOT_MEASURED))
        else:
            found = judgement.changes.get(axis)
            gates.append(_at_most(name, None if found is None else found.flap_ratio, most))
    for axis in (VALUE, GROWTH):
        share = mean_of([cutoff.tiers_off.get(axis, float("nan")) for cutoff in judgement.cutoffs])
        gates.append(_at_most(f"{axis} rank tiers off on CDNOW", share, CDNOW_TIERS_OFF_MAX))
    return gates


def _against(name: str, judgement: Judgement, figure: str, others: Sequence[str], lead: float) -> Gate:
    """Compare with the best of other methods, each over the cutoffs at which both have the figure."""
    present = [other for other in others if other in judgement.method_names]
    own_mean = getattr(judgement.means(SCORES), figure)
    leads = []
    for other in present:
        pairs = [
            getattr(cutoff.methods[SCORES], figure) - getattr(cutoff.methods[other], figure)
            for cutoff in judgement.cutoffs
        ]
        leads.append(mean_of(pairs))
    known = [each for each in leads if each == each]
    if present and own_mean != own_mean:
        return Gate(name, None, None, Verdict.FAIL)
    if not known:
        return Gate(name, own_mean if own_mean == own_mean else None, None, Verdict.NOT_MEASURED)
    least = min(known)
    verdict = Verdict.PASS if least >= lead else Verdict.FAIL
    return Gate(name, own_mean, own_mean - least + lead, verdict)


def _at_least(name: str, figure: float, bound: float) -> Gate:
    if figure != figure:
        return Gate(name, None, bound, Verdict.FAIL)
    return Gate(name, figure, bound, Verdict.PASS if figure >= bound else Verdict.FAIL)


def _at_most(name: str, figure: float | None, bound: float) -> Gate:
    if figure is None or figure != figure:
        return Gate(name, None, bound, Verdict.FAIL)
    return Gate(name, figure, bound, Verdict.PASS if figure <= bound else Verdict.FAIL)
