"""How much past spends count: the blend that has ranked what came, step by step, and only on evidence."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.learning.blending import FIRST_PLACE, GROUP_SIZE, PAST_SHARES, REMEMBERED_MAX, PastShareChoice

FloatArray = NDArray[np.float64]

FIRST = PAST_SHARES[FIRST_PLACE]


def outcomes(count: int, *, forecast_noise: float, past_noise: float, seed: int = 1) -> tuple[FloatArray, ...]:
    """Past and forecast, each the logarithm of what came with its own noise, and what came."""
    generator = np.random.Generator(np.random.PCG64(seed))
    logs = generator.normal(3.0, 1.0, count)
    past, forecast = (logs + noise * generator.standard_normal(count) for noise in (past_noise, forecast_noise))
    return past, forecast, np.exp(logs)


def chosen(parts: tuple[FloatArray, ...], switches: int = 6) -> list[float]:
    choice = PastShareChoice()
    choice.learn_many(*parts)
    return [choice.choose() for _ in range(switches)]


def test_past_spends_count_little_before_anything_is_known() -> None:
    assert chosen(outcomes(0, forecast_noise=1.0, past_noise=1.0)) == [0.06] * 6


def test_past_spends_that_rank_better_take_over_step_by_step() -> None:
    assert chosen(outcomes(4000, forecast_noise=1.0, past_noise=0.1)) == [0.12, 0.25, 0.5, 1.0, 1.0, 1.0]


def test_a_forecast_that_ranks_better_leaves_past_spends_a_rest() -> None:
    assert chosen(outcomes(4000, forecast_noise=0.1, past_noise=2.0)) == [0.03] * 6


def test_where_both_say_as_much_they_come_to_count_alike() -> None:
    assert chosen(outcomes(8000, forecast_noise=0.5, past_noise=0.5))[-1] in (0.5, 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_past_spends_that_say_nothing_beside_the_forecast_gain_nothing(seed: int) -> None:
    _past, forecast, spend = outcomes(2000, forecast_noise=1.0, past_noise=3.0, seed=seed)
    noise = np.random.Generator(np.random.PCG64(100 + seed)).normal(0.0, 0.5, 2000)

    assert chosen((forecast + noise, forecast, spend))[-1] <= FIRST


def test_a_few_outcomes_change_nothing() -> None:
    assert chosen(outcomes(3 * GROUP_SIZE - 1, forecast_noise=1.0, past_noise=0.1)) == [FIRST] * 6
    assert chosen(outcomes(3 * GROUP_SIZE, forecast_noise=1.0, past_noise=0.1))[-1] == 1.0


def test_nobody_spending_anything_changes_nothing() -> None:
    past, forecast, _ = outcomes(4000, forecast_noise=1.0, past_noise=0.1)

    assert chosen((past, forecast, np.zeros(4000))) == [FIRST] * 6


def test_a_group_in_which_nobody_spent_says_nothing_and_the_others_count() -> None:
    past, forecast, spend = outcomes(6 * GROUP_SIZE, forecast_noise=1.0, past_noise=0.1)
    spend[: 2 * GROUP_SIZE] = 0.0

    assert chosen((past, forecast, spend))[-1] == 1.0


def test_it_comes_back_when_past_spends_stop_ranking_better() -> None:
    choice = PastShareChoice()
    choice.learn_many(*outcomes(4000, forecast_noise=1.0, past_noise=0.1))
    taken = [choice.choose() for _ in range(3)]
    choice.learn_many(*outcomes(REMEMBERED_MAX, forecast_noise=0.1, past_noise=2.0))

    assert taken == [0.12, 0.25, 0.5]
    assert [choice.choose() for _ in range(4)] == [0.25, 0.12, 0.06, 0.03]


def test_it_goes_on_from_a_stored_state_to_the_bit_and_keeps_a_bounded_number_of_outcomes() -> None:
    choice = PastShareChoice()
    choice.learn_many(*outcomes(REMEMBERED_MAX + 500, forecast_noise=1.0, past_noise=0.1))
    choice.choose()
    again = PastShareChoice.from_state(choice.state())

    assert again.share == choice.share == 0.12
    assert again.state()["remembered"].shape == (REMEMBERED_MAX, 3)
    assert again.choose() == choice.choose() == 0.25


@pytest.mark.parametrize(
    "damage",
    [{"place": np.array([9])}, {"place": np.array([])}, {"remembered": np.full((1, 3), np.nan)}],
    ids=["a place there is not", "no place", "no number"],
)
def test_a_damaged_state_is_refused(damage: dict[str, NDArray[np.generic]]) -> None:
    with pytest.raises(IncompatibleStateError):
        PastShareChoice.from_state(PastShareChoice().state() | damage)
