"""A third axis as a test adds one: a score function, its reference, and the name by which a policy asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log1p

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.outlook import Customers
from stream_app.domain.policy import Policy
from stream_app.domain.reasons import Term, describe_each
from stream_app.domain.rows import column
from stream_app.domain.scores import SCORES, ScoreFactory
from tests.reference import REFERENCE_SCORES, Customer, ReferenceScore
from tests.reference_customer import decay

THIRD_AXIS = "attachment"


class AttachmentScore:
    """How attached a customer is: browsing and carts of late, and mean satisfaction."""

    terms = (
        Term("visits", 1.5, describe_each(lambda *_: "visits")),
        Term("satisfaction", 0.7, describe_each(lambda *_: "satisfaction")),
    )
    bucket_width = 0.1

    def __init__(self, policy: Policy) -> None:
        self.half_life_ms = policy.behaviour_half_life_days * MS_PER_DAY

    def bases(self, customers: Customers) -> Sequence[NDArray[np.float64]]:
        rows, as_of_ms = customers.rows, customers.as_of_ms
        visits = column(rows, "behaviour_count", 0) + column(rows, "behaviour_count", 1)
        left = np.exp2((as_of_ms - rows["clock_ms"]) / -self.half_life_ms)
        satisfaction = column(rows, "satisfaction_sum") / np.maximum(column(rows, "satisfaction_count"), 1.0)
        return np.log1p(visits * left), satisfaction

    def shown(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return scores


def _visits(customer: Customer, as_of_ms: int, policy: Policy) -> float:
    left = decay(as_of_ms - customer.clock_ms, policy.behaviour_half_life_days)
    return log1p((customer.behaviour_counts[0] + customer.behaviour_counts[1]) * left)


def _satisfaction(customer: Customer, as_of_ms: int, policy: Policy) -> float:
    return customer.satisfaction_sum / max(customer.satisfaction_count, 1)


ALL_SCORES: Mapping[str, ScoreFactory] = {**SCORES, THIRD_AXIS: AttachmentScore}
ALL_REFERENCE_SCORES: Mapping[str, ReferenceScore] = {
    **REFERENCE_SCORES,
    THIRD_AXIS: ReferenceScore(terms=(_visits, _satisfaction), weights=(1.5, 0.7), bucket_width=0.1),
}
