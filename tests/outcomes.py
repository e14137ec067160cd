"""What a whole stream brings about, in one form for the reference and for the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_app.domain.rows import PROSPECT, UNRATED
from tests.reference import REFERENCE_SCORES, Customer, ReferenceChange, ReferenceEngine, ReferenceEvent, ReferenceScore
from tests.strategies import Renewal, Stream, Switch, Tick

RowValues = dict[str, list[float]]
"""Name of a row's field to its values; fields that mean nothing for the customer are left out."""


@dataclass(slots=True)
class Outcome:
    """All that can be seen of a run: events are named by their number in the whole stream, ticks by -1.

    `populations` holds for each axis the customers that are prospects, unrated, in tier 0, and so on.
    """

    changes: list[ReferenceChange] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    tiers_before: list[tuple[int, ...]] = field(default_factory=list)
    suppressed_counts: list[int] = field(default_factory=list)
    rescored_count: int = 0
    populations: list[list[int]] = field(default_factory=list)
    rows: dict[str, RowValues] = field(default_factory=dict)


def reference_row(customer: Customer) -> RowValues:
    """Name a customer's state by the fields of the engine's row."""
    axes = customer.axes
    row: RowValues = {
        "clock_ms": [customer.clock_ms],
        "turn": [customer.turn],
        "sequence": [customer.sequence],
        "decayed_spend": customer.decayed_spends,
        "decayed_count": customer.decayed_counts,
        "behaviour_count": customer.behaviour_counts,
        "behaviour_last_s": [float(seconds) for seconds in customer.behaviour_seconds],
        "satisfaction_sum": [customer.satisfaction_sum],
        "satisfaction_count": [customer.satisfaction_count],
        "gross_spend": [customer.gross_spend],
        "net_spend": [customer.net_spend],
        "refunded": [customer.refunded],
        "purchase_count": [customer.purchase_count],
        "refund_count": [customer.refund_count],
        "basket_count": [customer.baskets],
        "last_basket": [customer.last_basket],
        "largest_basket": [customer.largest_basket],
        "log_count": [customer.log_count],
        "log_sum": [customer.log_sum],
        "log_square_sum": [customer.log_square_sum],
        "kept_s": [float(kept.time_seconds) for kept in customer.kept_totals],
        "kept_gross_spend": [kept.gross_spend for kept in customer.kept_totals],
        "kept_baskets": [float(kept.baskets) for kept in customer.kept_totals],
        # Rows keep it for the newer half only.
        "kept_gap": [float(kept.gap) for kept in customer.kept_totals][-((customer.kept_totals.maxlen or 0) // 2) :],
        "held": [-1 if axis.held is None else axis.held for axis in axes],
        "candidate": [-1 if axis.candidate is None else axis.candidate for axis in axes],
        "since_ms": [axis.since_ms for axis in axes if axis.candidate is not None],
        "candidate_cause": [axis.cause for axis in axes if axis.candidate is not None],
        "score": [axis.score for axis in axes if axis.score is not None],
        "bucket": [axis.bucket for axis in axes if axis.bucket is not None],
    }
    if customer.first_purchase_seconds is not None and customer.last_purchase_seconds is not None:
        row["first_purchase_s"] = [customer.first_purchase_seconds]
        row["last_purchase_s"] = [customer.last_purchase_seconds]
    return row


def run_reference(stream: Stream, scores: Mapping[str, ReferenceScore] = REFERENCE_SCORES) -> Outcome:
    """Run a stream through the reference."""
    engine = ReferenceEngine(stream.policy, scores)
    knowledge = engine.first_knowledge()
    outcome = Outcome()
    event_number = 0
    axis_count = len(stream.policy.axes)
    for operation in stream.operations:
        match operation:
            case ReferenceEvent():
                customer = engine.customers.get(operation.customer_id)
                newcomer = (UNRATED if stream.policy.rates_everyone else PROSPECT,) * axis_count
                outcome.tiers_before.append(newcomer if customer is None else engine.segment_of(customer))
                duplicates_before = engine.duplicate_count
                for change in engine.apply([operation], knowledge):
                    outcome.changes.append(numbered(change, event_number))
                if engine.duplicate_count > duplicates_before:
                    outcome.duplicates.append(event_number)
                    # The contract says nothing of a tier before an event that never was.
                    outcome.tiers_before[-1] = (PROSPECT,) * axis_count
                event_number += 1
            case Tick():
                outcome.changes += engine.tick(operation.time_ms, knowledge)
            case Renewal():
                knowledge = engine.renewed(knowledge, [engine.sketch()])
            case Switch():
                weights = scaled(knowledge.weights, operation.factor)
                knowledge = engine.switched(knowledge, weights, [engine.dry_sketch(weights, operation.time_ms)])
    outcome.suppressed_counts = engine.suppressed_counts
    outcome.rescored_count = engine.rescored_count
    tiers_max = max(len(axis.tiers) for axis in stream.policy.axes)
    states = (PROSPECT, UNRATED, *range(tiers_max))
    outcome.populations = [[population[state] for state in states] for population in engine.populations()]
    outcome.rows = {customer.customer_id: reference_row(customer) for customer in engine.customers.values()}
    return outcome


def scaled(weights: Mapping[str, tuple[float, ...]], factor: float) -> dict[str, tuple[float, ...]]:
    """Multiply all weights by a factor."""
    return {name: tuple(weight * factor for weight in own) for name, own in weights.items()}


def numbered(change: ReferenceChange, event_number: int) -> ReferenceChange:
    """Name the event of a change by its number in the whole stream."""
    fields = {name: getattr(change, name) for name in ReferenceChange.__slots__}
    return ReferenceChange(**(fields | {"event_index": event_number}))


def assert_rows_close(actual: RowValues, expected: Mapping[str, list[float]]) -> None:
    """Hold the fields that are expected to 1e-9, relative or absolute."""
    for name, values in expected.items():
        assert len(actual[name]) == len(values), (name, actual[name], values)
        assert all(map(is_close, actual[name], values)), (name, actual[name], values)


def is_close(first: float, second: float) -> bool:
    """Tell whether two numbers agree to 1e-9, relative or absolute."""
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
