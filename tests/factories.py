"""Small policies and batches for tests, with a default for everything that a test does not speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stream_app.adapters.policy_file import default_document
from stream_app.domain.events import EventBatch, Family, event_keys
from stream_app.domain.identifiers import pack_ids
from stream_app.domain.policy import AxisPolicy, CutRule, EventRule, Margin, Policy, Treatment
from tests.reference import ReferenceEvent

DAY_MS = 86_400_000


def make_axis(*, margin: float | tuple[float, float] = 0.25, **overrides: Any) -> AxisPolicy:
    """Make a value axis like the default policy's, with some fields replaced; one margin holds both ways."""
    fields: dict[str, Any] = {
        "name": "value",
        "score": "value",
        "tiers": ("small", "big", "vip"),
        "cut_rule": CutRule.QUANTILES,
        "cuts": (0.8, 0.95),
        "margin": Margin(*margin) if isinstance(margin, tuple) else Margin(margin, margin),
        "confirmation_ms": 0,
    }
    return AxisPolicy(**(fields | overrides))


def make_policy(**overrides: Any) -> Policy:
    """Make a policy of one value axis, with some fields replaced."""
    fields: dict[str, Any] = {
        "name": "test shop",
        "owner": "tests",
        "objective": "hold the engine to its rules",
        "axes": (make_axis(),),
        "event_rules": {"purchase": EventRule(Family.PURCHASE, amount_path=("amount",))},
        "default_event_type": "purchase",
        "reporting_currency": "EUR",
        "currency_rates": {"EUR": 1.0},
        "amount_max": 1e9,
        "rates_everyone": False,
        "rated_customers_min": 100,
        "sweep_period_minutes": 24 * 60,
        "horizon_periods": 3,
        "half_lives_days": (14.0, 30.0, 90.0, 365.0),
        "behaviour_half_life_days": 30.0,
        "future_skew_max_ms": 300_000,
    }
    fields |= overrides
    every_segment = ("*",) * len(fields["axes"])
    fields.setdefault("treatment_rules", ((every_segment, Treatment(channel="digital", action="newsletter")),))
    return Policy(**fields)


def make_batch(events: Sequence[ReferenceEvent], first_position: int = 0) -> EventBatch:
    """Put events into columns; positions count up from the first."""
    event_ids = [event.event_id for event in events]
    missing = float("nan")
    return EventBatch(
        customer_ids=pack_ids([event.customer_id for event in events]),
        event_ids=event_ids,
        event_keys=event_keys(pack_ids(event_ids)),
        times_ms=np.array([event.time_ms for event in events], dtype=np.int64),
        families=np.array([event.family for event in events], dtype=np.uint8),
        amounts=np.array([event.amount for event in events], dtype=np.float64),
        satisfactions=np.array(
            [missing if event.satisfaction is None else event.satisfaction for event in events], dtype=np.float64
        ),
        positions=np.arange(first_position, first_position + len(events), dtype=np.int64),
    )


def one_axis_document() -> dict[str, Any]:
    """Give the default policy's document with its value axis alone, and a treatment for each of its tiers."""
    document = default_document()
    axes = document["axes"]
    assert isinstance(axes, dict)
    segments = [(tier, "human") for tier in ("vip", "big")] + [(tier, "digital") for tier in ("small", "prospect", "*")]
    treatments = [{"segment": [tier], "channel": channel, "action": "Serve."} for tier, channel in segments]
    return document | {"axes": {"value": axes["value"]}, "treatments": treatments}
