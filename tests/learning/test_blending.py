"""How much past spends count: the blend that has ranked what came, in small steps, and only on evidence."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.learning.blending import PAST_SHARES, REMEMBERED_MAX, PastShareChoice

FloatArray = NDArray[np.float64]


def outcomes(count: int, *, forecast_noise: float, past_noise: float, seed: int = 1) -> tuple[FloatArray, ...]:
    """Past and forecast, each the logarithm of what came with its own noise, and what came."""
    generator = np.random.Generator(np.random.PCG64(seed))
    logs = generator.normal(3.0, 1.0, count)
    past, forecast = (logs + noise * generator.standard_normal(count) for noise in (past_noise, forecast_noise))
    return past, forecast, np.exp(logs)


def chosen(parts: tuple[FloatArray, ...], switches: int = 5) -> list[float]:
    choice = PastShareChoice()
    choice.learn_many(*parts)
    return [choice.choose(3) for _ in range(switches)]


def test_past_spends_count_in_full_before_anything_is_known() -> None:
    assert PastShareChoice().choose(3) == 1.0


def test_a_better_forecast_takes_over_step_by_step() -> None:
    assert chosen(outcomes(4000, forecast_noise=0.1, past_noise=2.0)) == [0.5, 0.25, 0.1, 0.1, 0.1]


def test_a_forecast_that_ranks_worse_changes_nothing() -> None:
    assert chosen(outcomes(4000, forecast_noise=2.0, past_noise=0.1)) == [1.0] * 5


def test_outcomes_of_a_single_period_allow_no_step_to_the_end() -> None:
    choice = PastShareChoice()
    choice.learn_many(*outcomes(4000, forecast_noise=0.1, past_noise=2.0))

    assert [choice.choose(1) for _ in range(4)] == [0.5, 0.25, 0.25, 0.25]


def test_a_few_outcomes_change_nothing() -> None:
    assert chosen(outcomes(399, forecast_noise=0.1, past_noise=2.0)) == [1.0] * 5


def test_nobody_spending_anything_changes_nothing() -> None:
    past, forecast, _ = outcomes(4000, forecast_noise=0.1, past_noise=2.0)

    assert chosen((past, forecast, np.zeros(4000))) == [1.0] * 5


def test_past_spends_come_back_when_the_forecast_stops_ranking_better() -> None:
    choice = PastShareChoice()
    choice.learn_many(*outcomes(4000, forecast_noise=0.1, past_noise=2.0))
    taken = [choice.choose(3) for _ in range(3)]
    choice.learn_many(*outcomes(REMEMBERED_MAX, forecast_noise=2.0, past_noise=0.1))

    assert taken == [0.5, 0.25, 0.1]
    assert [choice.choose(3) for _ in range(3)] == [0.25, 0.5, 1.0]


def test_it_goes_on_from_a_stored_state_to_the_bit_and_keeps_a_bounded_number_of_outcomes() -> None:
    choice = PastShareChoice()
    choice.learn_many(*outcomes(REMEMBERED_MAX + 500, forecast_noise=0.1, past_noise=2.0))
    choice.choose(3)
    again = PastShareChoice.from_state(choice.state())

    assert again.share == choice.share == PAST_SHARES[1]
    assert again.state()["remembered"].shape == (REMEMBERED_MAX, 3)
    assert again.choose(3) == choice.choose(3)


@pytest.mark.parametrize(
    "damage",
    [{"place": np.array([9])}, {"place": np.array([])}, {"remembered": np.full((1, 3), np.nan)}],
    ids=["a place there is not", "no place", "no number"],
)
def test_a_damaged_state_is_refused(damage: dict[str, NDArray[np.generic]]) -> None:
    with pytest.raises(IncompatibleStateError):
        PastShareChoice.from_state(PastShareChoice().state() | damage)
