"""Where customers stand now, from their rows: answers about one customer and about lists of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_text import format_time
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import AxisPolicy
from stream_app.domain.rating import rated
from stream_app.domain.rows import NOT_HELD, RowBlock
from stream_app.web.answers import (
    AxisStanding,
    Candidate,
    CustomerAnswer,
    Freshness,
    ListedCustomer,
    Purchases,
    Treatment,
)
from stream_app.web.read_model import ReadModel

_MS_PER_SECOND = 1000
_PERCENTILE_DECIMALS = 3


def write_time(time_ms: int) -> str | None:
    """Write a time as the wire contracts do; None for a time that there is not yet (below 0)."""
    return None if time_ms < 0 else format_time(time_ms)


def _time(time_ms: int) -> str:
    return format_time(time_ms)


def finite(value: float) -> float | None:
    """Give a number as JSON can hold it; None for what is none."""
    number = float(value)
    return number if math.isfinite(number) else None


def told_percentile(value: float) -> float | None:
    """Give a percentile without the noise of its binary fraction, as changes tell it."""
    number = finite(value)
    return None if number is None else round(number, _PERCENTILE_DECIMALS)


def treatment_of(model: ReadModel, segment: tuple[str, ...]) -> Treatment:
    """Give what the policy says of a segment."""
    treatment = model.policy.treatment_for(segment)
    return Treatment(channel=treatment.channel, action=treatment.action)


def named(model: ReadModel, segment: Sequence[str]) -> dict[str, str]:
    """Give axis to tier."""
    return dict(zip(model.policy.axis_names, segment, strict=True))


def candidate_of(row: RowBlock, place: int, axis: AxisPolicy) -> Candidate | None:
    """Tell which tier waits to be confirmed on an axis."""
    candidate = int(row["candidate"][0, place])
    if candidate == NOT_HELD:
        return None
    since_ms = int(row["since_ms"][0, place])
    return Candidate(tier=axis.tiers[candidate], since=_time(since_ms), due_at=_time(since_ms + axis.confirmation_ms))


def describe_customer(model: ReadModel, customer_id: str, place: int) -> CustomerAnswer:
    """Tell where a customer stands."""
    row = model.customers.rows_at(np.array([place]))
    partition = model.customers.partition_at(place)
    progress = model.progress_of(partition)
    segment = model.customers.states_at(np.array([place]))[0]
    behind = None if progress.events_end < 0 else max(progress.events_end - progress.events_position, 0)
    return CustomerAnswer(
        as_of=write_time(model.as_of_ms),
        customer_id=customer_id,
        segment=named(model, segment),
        treatment=treatment_of(model, segment),
        axes=_standings(model, row, segment, model.knowledge_of(partition)),
        changes=int(row["sequence"][0]),
        purchases=_purchases(model, row),
        freshness=Freshness(
            last_event_at=_time(int(row["clock_ms"][0])),
            last_tick_at=write_time(progress.tick_ms),
            partition=partition,
            events_behind=behind,
            knowledge_version=progress.knowledge_version,
        ),
    )


def _standings(
    model: ReadModel, row: RowBlock, segment: tuple[str, ...], knowledge: Knowledge | None
) -> list[AxisStanding]:
    standings = []
    for place, (axis, tier) in enumerate(zip(model.policy.axes, segment, strict=True)):
        scores, shown, percentiles = score_columns(model, row, place, knowledge)
        standings.append(
            AxisStanding(
                axis=axis.name,
                tier=tier,
                score=finite(scores[0]),
                shown_score=finite(shown[0]),
                percentile=told_percentile(percentiles[0]),
                candidate=candidate_of(row, place, axis),
            )
        )
    return standings


def score_columns(
    model: ReadModel, rows: RowBlock, place: int, knowledge: Knowledge | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give stored scores, the same as shown, and percentiles of shape `(n,)`; NaN where there is none."""
    axis = model.policy.axes[place]
    has_score = rated(rows, rates_everyone=model.policy.rates_everyone) & (rows["bucket"][:, place] != NOT_HELD)
    scores = np.where(has_score, rows["score"][:, place], np.nan)
    shown = np.where(has_score, model.functions[axis.name].shown(np.ascontiguousarray(scores)), np.nan)
    lines = None if knowledge is None else knowledge.axes.get(axis.name)
    if lines is None:
        return scores, shown, np.full(len(rows), np.nan)
    return scores, shown, np.where(has_score, lines.percentiles(scores), np.nan)


def _purchases(model: ReadModel, row: RowBlock) -> Purchases:
    has_bought = int(row["purchase_count"][0]) > 0
    first, last = (int(row[name][0]) * _MS_PER_SECOND for name in ("first_purchase_s", "last_purchase_s"))
    return Purchases(
        currency=model.policy.reporting_currency,
        count=int(row["purchase_count"][0]),
        baskets=int(row["basket_count"][0]),
        gross_spend=float(row["gross_spend"][0]),
        net_spend=float(row["net_spend"][0]),
        refunded=float(row["refunded"][0]),
        first_at=_time(first) if has_bought else None,
        last_at=_time(last) if has_bought else None,
    )


def list_customers(model: ReadModel, places: NDArray[np.int64]) -> list[ListedCustomer]:
    """Tell of several customers what a list shows."""
    rows = model.customers.rows_at(places)
    knowledge = model.knowledge.newest
    columns = [score_columns(model, rows, place, knowledge) for place in range(len(model.policy.axes))]
    names = model.policy.axis_names
    bought = np.where(rows["purchase_count"] > 0, rows["last_purchase_s"].astype(np.int64) * _MS_PER_SECOND, -1)
    return [
        ListedCustomer(
            customer_id=customer_id,
            scores={name: finite(own[0][number]) for name, own in zip(names, columns, strict=True)},
            shown_scores={name: finite(own[1][number]) for name, own in zip(names, columns, strict=True)},
            percentiles={name: told_percentile(own[2][number]) for name, own in zip(names, columns, strict=True)},
            net_spend=float(rows["net_spend"][number]),
            last_purchase_at=write_time(int(bought[number])),
        )
        for number, customer_id in enumerate(model.customers.ids_at(places))
    ]
