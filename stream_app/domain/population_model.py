"""Parameters of the population that formulas need: how it buys, and what it spends."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_app.domain.credibility import SpendPopulation
from stream_app.domain.purchase_model import PRIOR_PARAMETERS, PurchaseParameters

UNITS_PER_MEAN = 30.0
"""The mean basket is 30 units: so log1p tells small amounts apart, whatever the currency."""
AMOUNT_UNIT_MIN = 1e-9


@dataclass(frozen=True, slots=True)
class PopulationModel:
    """How the population buys and spends; the defaults are what is believed before anything is known.

    Parameters
    ----------
    purchase
        Of the purchase model.
    spend
        Of amounts.
    """

    purchase: PurchaseParameters = PRIOR_PARAMETERS
    spend: SpendPopulation = field(default_factory=SpendPopulation)

    @property
    def amount_unit(self) -> float:
        """In what amounts are counted where their logarithm is taken: a thirtieth of the mean; 1 before it is known."""
        unit = self.spend.mean_amount / UNITS_PER_MEAN
        return max(unit, AMOUNT_UNIT_MIN) if unit > 0.0 else 1.0
