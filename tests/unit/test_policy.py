"""A policy's hashes follow its content and nothing else, and its answers are those of its rules."""

import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product

import pytest

from stream_app.adapters.policy_file import default_document, load_policy
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family
from stream_app.domain.policy import AxisPolicy, CutRule, EventRule, Margin, Policy, Treatment
from stream_app.domain.policy_parsing import parse_policy

DEFAULT = load_policy(None)
AXIS = DEFAULT.axes[0]
RULES = DEFAULT.event_rules
SERVE = Treatment("digital", "Serve.")


def with_axis(**changes: object) -> dict[str, object]:
    return {"axes": (replace(AXIS, **changes), *DEFAULT.axes[1:])}  # type: ignore[arg-type] # Names and types are those of the table below.


def with_rule(rule: EventRule) -> dict[str, object]:
    return {"event_rules": {**RULES, "purchase": rule}}


STORED_CHANGES: list[dict[str, object]] = [
    with_axis(name="worth"),
    with_axis(score="other"),
    with_axis(tiers=("small", "big", "huge")),
    {"axes": (AXIS, replace(AXIS, name="worth"))},
    {"axes": (replace(AXIS, name="worth"), AXIS)},
    with_rule(EventRule(Family.REFUND, ("amount",))),
    with_rule(EventRule(Family.PURCHASE, ("properties", "amount"))),
    with_rule(EventRule(Family.PURCHASE, None, 5.0)),
    with_rule(EventRule(Family.PURCHASE, ("amount",), satisfaction_path=("score",))),
    with_rule(EventRule(Family.PURCHASE, ("amount",), satisfaction_range=(1.0, 5.0))),
    {"event_rules": {**RULES, "visit": EventRule(Family.BROWSE)}},
    {"event_rules": {name: rule for name, rule in RULES.items() if name != "browse"}},
    {"default_event_type": "order"},
    {"reporting_currency": "EUR"},
    {"currency_rates": {"USD": 1.0, "EUR": 1.1}},
    {"rates_everyone": True},
    {"horizon_periods": 4},
    {"half_lives_days": (14.0, 30.0, 90.0, 366.0)},
    {"behaviour_half_life_days": 31.0},
]
FREE_CHANGES: list[dict[str, object]] = [
    {"name": "other"},
    {"owner": "other"},
    {"objective": "other"},
    with_axis(cut_rule=CutRule.ABSOLUTE),
    with_axis(cuts=(0.8, 0.96)),
    with_axis(margin=Margin(0.26, 0.25)),
    with_axis(margin=Margin(0.25, 0.26)),
    with_axis(confirmation_ms=1),
    {"treatment_rules": ((("*",), SERVE),)},
    {"treatment_rules": tuple(reversed(DEFAULT.treatment_rules))},
    {"amount_max": 1e8},
    {"rated_customers_min": 101},
    {"sweep_period_minutes": 720},
    {"future_skew_max_ms": 1},
]


def changed(changes: Mapping[str, object]) -> Policy:
    return replace(DEFAULT, **changes)  # type: ignore[arg-type] # Names and types are those of the tables above.


@pytest.mark.parametrize("changes", [*STORED_CHANGES, *FREE_CHANGES])
def test_any_change_of_content_changes_the_content_hash(changes: dict[str, object]) -> None:
    assert changed(changes).content_hash != DEFAULT.content_hash


def test_the_tables_of_changes_leave_out_no_field() -> None:
    tried = {name for changes in (*STORED_CHANGES, *FREE_CHANGES) for name in changes}
    assert tried == {each.name for each in fields(Policy)} - {"content_hash", "state_hash"}
    assert len({changed(changes).content_hash for changes in (*STORED_CHANGES, *FREE_CHANGES)}) == 33
    assert {each.name for each in fields(AxisPolicy)} == {
        *("name", "score", "tiers", "cut_rule", "cuts", "margin", "confirmation_ms")
    }


@pytest.mark.parametrize("changes", STORED_CHANGES)
def test_a_change_that_stored_rows_depend_on_changes_the_state_hash(changes: dict[str, object]) -> None:
    assert changed(changes).state_hash != DEFAULT.state_hash


@pytest.mark.parametrize("changes", FREE_CHANGES)
def test_any_other_change_leaves_the_state_hash(changes: dict[str, object]) -> None:
    assert changed(changes).state_hash == DEFAULT.state_hash


def test_the_order_of_event_types_and_rates_does_not_count() -> None:
    rates = {"USD": 1.0, "EUR": 1.1}
    one = changed({"currency_rates": rates, "event_rules": RULES})
    other = changed(
        {
            "currency_rates": dict(reversed(rates.items())),
            "event_rules": {name: RULES[name] for name in sorted(RULES, reverse=True)},
        },
    )

    assert (one.content_hash, one.state_hash) == (other.content_hash, other.state_hash)


def test_how_a_number_is_written_does_not_count() -> None:
    document = default_document()
    axes, money = document["axes"], document["money"]
    assert isinstance(axes, dict)
    assert isinstance(money, dict)
    axes["value"] |= {"cut_rule": "absolute", "cuts": [0, 3], "confirmation": "24h"}
    money["amount_max"] = 10**9
    one = parse_policy(document)
    axes["value"] |= {"cuts": [-0.0, 3.0], "confirmation": "1d"}
    money["amount_max"] = 1e9

    assert parse_policy(document).content_hash == one.content_hash


def test_hashes_are_32_hex_digits_and_differ() -> None:
    for digits in (DEFAULT.content_hash, DEFAULT.state_hash):
        assert len(digits) == 32
        assert set(digits) <= set("0123456789abcdef")
    assert DEFAULT.content_hash != DEFAULT.state_hash


def test_a_policy_survives_being_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(DEFAULT)) == DEFAULT


def test_the_first_treatment_that_fits_holds() -> None:
    axes = (AXIS, replace(AXIS, name="growth", tiers=("declining", "growing"), cuts=(0.5,)))
    rules = (
        (("vip", "declining"), Treatment("human", "Call.")),
        (("vip", "*"), Treatment("human", "Thank.")),
        (("*", "*"), SERVE),
    )
    policy = changed({"axes": axes, "treatment_rules": rules})

    assert policy.treatment_for(("vip", "declining")).action == "Call."
    assert policy.treatment_for(("vip", "unrated")).action == "Thank."
    assert policy.treatment_for(("prospect", "prospect")) == SERVE


def test_the_default_policy_has_a_treatment_for_every_segment() -> None:
    states = [(*axis.tiers, "unrated", "prospect") for axis in DEFAULT.axes]
    channels = {segment: DEFAULT.treatment_for(segment).channel for segment in product(*states)}

    # Attention is for the customers who are worth most, and for those of the next tier who are on the move.
    by_people = {segment for segment, channel in channels.items() if channel == "human"}
    assert {value for value, _ in by_people} == {"big", "vip"}
    assert {("big", "growing"), ("vip", "growing"), ("vip", "steady"), ("vip", "declining")} <= by_people
    assert ("big", "steady") not in by_people


@pytest.mark.parametrize("segment", [(), ("vip",), ("vip", "growing", "vip")])
def test_a_segment_of_another_length_is_a_bug(segment: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no treatment for segment"):
        DEFAULT.treatment_for(segment)


@pytest.mark.parametrize("minutes", [1, 60, 1_440, 10_080, 40_320])
def test_another_sweep_period_makes_another_policy_on_the_same_state(minutes: int) -> None:
    policy = DEFAULT.with_sweep_period(minutes)

    assert policy.sweep_period_minutes == minutes
    assert (policy.content_hash == DEFAULT.content_hash) is (minutes == DEFAULT.sweep_period_minutes)
    assert policy.state_hash == DEFAULT.state_hash


@pytest.mark.parametrize(
    ("minutes", "nearest"),
    [(-5, '"1m"'), (0, '"1m"'), (11, '"10m" or "12m"'), (1_441, '"1d" or "28h"'), (40_321, '"28d"'), (80_640, '"28d"')],
)
def test_a_sweep_period_that_does_not_divide_the_cycle_is_refused_with_the_nearest(minutes: int, nearest: str) -> None:
    with pytest.raises(SettingsError) as caught:
        DEFAULT.with_sweep_period(minutes)

    assert caught.value.code == "invalid_sweep_period"
    assert f"take {nearest}, the nearest" in str(caught.value)
