"""Every fault of a policy file is reported, all at once, at its TOML path, with what to do."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.errors import SettingsError
from stream_app.domain.policy_parsing import parse_policy
from tests.factories import one_axis_document
from tests.policy_documents import AXIS, TWO_AXES, axis_with, parse


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert caught.value.code == "invalid_policy"
    return caught.value.faults


def treatments(*segments: str) -> str:
    return "".join(
        f'[[treatments]]\nsegment = {segment}\nchannel = "human"\naction = "Call."\n' for segment in segments
    )


def event_type(rule: str) -> str:
    return f"[events.types]\nx = {rule}"


FAULTS = [
    # Keys and sections.
    ("axis = 1", "axis", 'unknown key; did you mean "axes"?'),
    ("[tme]\na = 1", "tme", 'did you mean "time"?'),
    ("policy = 3", "policy", "3 is not a table"),
    ("axes = []", "axes", "an array of 0 is not a table"),
    ("[money]\nrate = 1", "money.rate", 'did you mean "rates"?'),
    ("[policy]\nqqqq = 1", "policy.qqqq", '"name", "objective", "owner"'),
    ('"a b" = 1', '"a b"', "unknown key"),
    # Texts.
    ('[policy]\nname = " "', "policy.name", "is blank"),
    ("[policy]\nname = 1", "policy.name", "1 is not a text"),
    ("[policy]\nowner = true", "policy.owner", "true is not a text"),
    ('[policy]\nobjective = "a\\u0007"', "policy.objective", "control character"),
    (f'[policy]\nname = "{"n" * 2001}"', "policy.name", "2,001 characters; at most 2,000"),
    # Axes.
    ("[axes]", "axes", "0 axes; a policy has 1 to 8"),
    ("\n".join(AXIS.replace("value]", f"v{k}]") for k in range(9)), "axes", "9 axes; a policy has 1 to 8"),
    ("[axes]\nvalue = 1", "axes.value", "1 is not a table"),
    (axis_with("axes.value", "axes.Value"), "axes.Value", '"Value" is no name'),
    (axis_with("axes.value", 'axes."*"'), 'axes."*"', "reserved name"),
    (axis_with("axes.value", "axes.prospect"), "axes.prospect", "reserved name"),
    (axis_with("axes.value", "axes.1st"), "axes.1st", "a letter first"),
    (axis_with("axes.value", f"axes.{'a' * 41}"), f"axes.{'a' * 41}", "at most 40"),
    (axis_with('score = "value"\n', ""), "axes.value.score", 'missing; add score, one of "growth", "value"'),
    (axis_with('score = "value"', 'score = "valu"'), "axes.value.score", 'did you mean "value"?'),
    (axis_with('score = "value"', "score = 1"), "axes.value.score", "1 is not allowed"),
    (axis_with("margin", "margins"), "axes.value.margins", 'did you mean "margin"?'),
    (axis_with("margin", "margins"), "axes.value.margin", "missing"),
    (axis_with('"small", "big", "vip"', '"small", "vip", "vip"'), "axes.value.tiers[2]", '"vip" stands there twice'),
    (axis_with('"small"', '"unrated"'), "axes.value.tiers[0]", "reserved name"),
    (axis_with('"small"', '"prospect"'), "axes.value.tiers[0]", "reserved name"),
    (axis_with('"small"', '"*"'), "axes.value.tiers[0]", "reserved name"),
    (axis_with('"small"', '"Small"'), "axes.value.tiers[0]", '"Small" is no name'),
    (axis_with('"small"', '"small\\n"'), "axes.value.tiers[0]", "is no name"),
    (axis_with('"small"', '"größe"'), "axes.value.tiers[0]", "is no name"),
    (axis_with('"small"', "1"), "axes.value.tiers[0]", "1 is no name"),
    (axis_with('["small", "big", "vip"]', '["vip"]'), "axes.value.tiers", "1 tiers; an axis has at least 2"),
    (axis_with('["small", "big", "vip"]', "[]"), "axes.value.tiers", "0 tiers; an axis has at least 2"),
    (axis_with('["small", "big", "vip"]', '"vip"'), "axes.value.tiers", "is not an array"),
    (axis_with('["small", "big", "vip"]', str([f"t{k}" for k in range(21)])), "axes.value.tiers", "at most 20"),
    (axis_with('"quantiles"', '"quantile"'), "axes.value.cut_rule", 'did you mean "quantiles"?'),
    (
        axis_with("[0.8, 0.95]", "[0.8]"),
        "axes.value.cuts",
        "1 cuts for 3 tiers; there is one cut between two tiers; write 2",
    ),
    (axis_with("[0.8, 0.95]", "[0.8, 0.9, 0.95]"), "axes.value.cuts", "3 cuts for 3 tiers"),
    (axis_with("[0.8, 0.95]", "[0.95, 0.8]"), "axes.value.cuts[1]", "0.8 is not above the 0.95 before it"),
    (axis_with("[0.8, 0.95]", "[0.8, 0.8]"), "axes.value.cuts[1]", "increase strictly"),
    (axis_with("[0.8, 0.95]", "[0, 0.8]"), "axes.value.cuts[0]", "above 0 and below 1"),
    (axis_with("[0.8, 0.95]", "[0.8, 1]"), "axes.value.cuts[1]", "1 is out of range"),
    (axis_with("[0.8, 0.95]", "[80, 95]"), "axes.value.cuts[0]", "80 is out of range"),
    (axis_with("[0.8, 0.95]", "[nan, 0.95]"), "axes.value.cuts[0]", "nan is out of range"),
    (axis_with("[0.8, 0.95]", "[0.8, inf]"), "axes.value.cuts[1]", "inf is out of range"),
    (axis_with("[0.8, 0.95]", "[true, 0.95]"), "axes.value.cuts[0]", "true is not a number"),
    (axis_with("[0.8, 0.95]", '["0.8", 0.95]'), "axes.value.cuts[0]", "without quotes"),
    (axis_with("[0.8, 0.95]", "0.8"), "axes.value.cuts", "0.8 is not an array"),
    (
        axis_with('"quantiles"\ncuts = [0.8, 0.95]', '"absolute"\ncuts = [1, inf]'),
        "axes.value.cuts[1]",
        "inf is out of range",
    ),
    (
        axis_with('"quantiles"\ncuts = [0.8, 0.95]', '"absolute"\ncuts = [2, -1]'),
        "axes.value.cuts[1]",
        "-1 is not above the 2",
    ),
    (axis_with("0.25", "1"), "axes.value.margin", "at least 0 and below 1"),
    (axis_with("0.25", "-0.1"), "axes.value.margin", "-0.1 is out of range"),
    (axis_with("0.25", "nan"), "axes.value.margin", "nan is out of range"),
    (axis_with("0.25", "false"), "axes.value.margin", "false is not a number"),
    (axis_with("0.25", "[0.25]"), "axes.value.margin", "1 margins; write one number, or two"),
    (axis_with("0.25", "[0.1, 0.2, 0.3]"), "axes.value.margin", "3 margins; write one number, or two"),
    (axis_with("0.25", "[0.25, 1]"), "axes.value.margin[1]", "at least 0 and below 1"),
    (axis_with("0.25", '["a", 0.5]'), "axes.value.margin[0]", '"a" is not a number'),
    (axis_with('"0d"', "0"), "axes.value.confirmation", "0 is not a duration"),
    (axis_with('"0d"', '"two days"'), "axes.value.confirmation", '"two days" is not a duration'),
    # Treatments.
    (AXIS + "[treatments]\na = 1", "treatments", "is not an array"),
    ("treatments = []", "treatments", 'none for ["small"]'),
    ("treatments = [1]", "treatments[0]", "1 is not a table"),
    (treatments('["*"]').replace('"human"', '"e-mail"'), "treatments[0].channel", '"e-mail" is not allowed'),
    (treatments('["*"]').replace('"human"', "1"), "treatments[0].channel", '"digital", "human"'),
    (treatments('["*"]').replace('"Call."', '""'), "treatments[0].action", "is blank"),
    (treatments('["*"]') + "when = 1", "treatments[0].when", "unknown key"),
    (treatments('["*", "*"]'), "treatments[0].segment", "2 entries for 1 axes (axes.value)"),
    (treatments("[]"), "treatments[0].segment", "0 entries for 1 axes"),
    (treatments('"vip"'), "treatments[0].segment", "is not an array"),
    (
        treatments('["vipp"]', '["*"]'),
        "treatments[0].segment[0]",
        '"vipp" is no tier of axes.value; did you mean "vip"?',
    ),
    (treatments("[1]", '["*"]'), "treatments[0].segment[0]", "1 is no tier"),
    (treatments('["*"]', '["vip"]'), "treatments[1].segment", '["vip"] can never apply'),
    (treatments('["vip"]', '["vip"]', '["*"]'), "treatments[1].segment", "can never apply"),
    (
        treatments('["small"]', '["big"]', '["vip"]', '["unrated"]', '["prospect"]', '["*"]'),
        "treatments[5].segment",
        '["*"] can never apply',
    ),
    (treatments('["small"]', '["big"]', '["vip"]', '["prospect"]'), "treatments", 'none for ["unrated"]'),
    (treatments('["small"]', '["big"]', '["vip"]', '["unrated"]'), "treatments", 'none for ["prospect"]'),
    (TWO_AXES + treatments('["big", "*"]', '["*", "high"]'), "treatments", 'none for ["small", "low"]'),
    (TWO_AXES, "treatments", "missing; say what to do with each segment"),
    # Money.
    ('[money]\nreporting_currency = "usd"', "money.reporting_currency", '"usd" is no currency'),
    ('[money]\nreporting_currency = "EURO"', "money.reporting_currency", "three capital letters"),
    ("[money]\nreporting_currency = 1", "money.reporting_currency", "1 is not a text"),
    ("[money]\namount_max = 0", "money.amount_max", "0 is out of range"),
    ("[money]\namount_max = inf", "money.amount_max", "inf is out of range"),
    ("[money]\namount_max = nan", "money.amount_max", "nan is out of range"),
    ("[money]\namount_max = true", "money.amount_max", "true is not a number"),
    (f"[money]\namount_max = 1{'0' * 400}", "money.amount_max", "an integer of absurd size is out of range"),
    ("[money]\nrates = 1", "money.rates", "1 is not a table"),
    ("[money.rates]\nEUR = 0", "money.rates.EUR", "0 is out of range"),
    ("[money.rates]\nEUR = -1.1", "money.rates.EUR", "-1.1 is out of range"),
    ("[money.rates]\nEUR = inf", "money.rates.EUR", "inf is out of range"),
    ("[money.rates]\nEUR = '1.1'", "money.rates.EUR", "is not a number"),
    ("[money.rates]\neuro = 1.1", "money.rates.euro", "is no currency"),
    ("[money.rates]\nUSD = 1.1", "money.rates.USD", "only 1 is allowed"),
    ('[money]\nreporting_currency = "EUR"\n[money.rates]\nEUR = 2', "money.rates.EUR", "only 1 is allowed"),
    # Events.
    ('[events]\ndefault_type = "purchas"', "events.default_type", 'did you mean "purchase"?'),
    ("[events]\ndefault_type = 1", "events.default_type", "1 is not a text"),
    (
        '[events.types]\npurchase = { family = "ignore" }',
        "events.default_type",
        '"purchase" is no type of [events.types] that counts',
    ),
    ("[events]\ntypes = 1", "events.types", "1 is not a table"),
    ('[events.types]\n" " = { family = "browse" }', 'events.types." "', "is blank"),
    (f'[events.types]\n{"t" * 257} = {{ family = "browse" }}', f"events.types.{'t' * 257}", "at most 256"),
    ("[events.types]\nx = 'browse'", "events.types.x", '"browse" is not a table'),
    (event_type("{}"), "events.types.x.family", "missing; add family, one of"),
    (event_type('{ family = "purchas", amount = "a" }'), "events.types.x.family", 'did you mean "purchase"?'),
    (event_type('{ family = "Purchase", amount = "a" }'), "events.types.x.family", 'did you mean "purchase"?'),
    (event_type("{ family = 0 }"), "events.types.x.family", "0 is not allowed"),
    (event_type('{ family = "purchase" }'), "events.types.x", "a purchase without an amount"),
    (event_type('{ family = "refund" }'), "events.types.x", "a refund without an amount"),
    (
        event_type('{ family = "purchase", amount = "a", fixed_value = 1 }'),
        "events.types.x",
        "both amount and fixed_value",
    ),
    (event_type('{ family = "browse", amount = "a" }'), "events.types.x.amount", "family browse has no amount"),
    (event_type('{ family = "browse", fixed_value = 0 }'), "events.types.x.fixed_value", "0 is out of range"),
    (event_type('{ family = "browse", fixed_value = -1 }'), "events.types.x.fixed_value", "-1 is out of range"),
    (event_type('{ family = "browse", fixed_value = 1e10 }'), "events.types.x.fixed_value", "at most 1,000,000,000"),
    (event_type('{ family = "purchase", amount = "a..b" }'), "events.types.x.amount", '"a..b" is no place in an event'),
    (event_type('{ family = "purchase", amount = "" }'), "events.types.x.amount", "is no place in an event"),
    (event_type('{ family = "purchase", amount = [] }'), "events.types.x.amount", "is no place in an event"),
    (event_type('{ family = "purchase", amount = ["a", 1] }'), "events.types.x.amount", "is no place in an event"),
    (event_type('{ family = "purchase", amount = 1 }'), "events.types.x.amount", "1 is no place in an event"),
    (event_type('{ family = "purchase", amount = "a.a.a.a.a.a.a.a.a.a.a" }'), "events.types.x.amount", "1 to 10 keys"),
    (event_type('{ family = "feedback", satisfaction = 3 }'), "events.types.x.satisfaction", "3 is no place"),
    (
        event_type('{ family = "feedback", satisfaction_range = [1, 5] }'),
        "events.types.x.satisfaction_range",
        "without a satisfaction",
    ),
    (
        event_type('{ family = "feedback", satisfaction = "s", satisfaction_range = [1] }'),
        "events.types.x.satisfaction_range",
        "1 ends; a range has two",
    ),
    (
        event_type('{ family = "feedback", satisfaction = "s", satisfaction_range = [5, 5] }'),
        "events.types.x.satisfaction_range",
        "worst and best are both 5",
    ),
    (
        event_type('{ family = "feedback", satisfaction = "s", satisfaction_range = [0, nan] }'),
        "events.types.x.satisfaction_range[1]",
        "nan is out of range",
    ),
    (event_type('{ family = "ignore", amount = "a" }'), "events.types.x", "an ignored type has none"),
    (event_type('{ family = "browse", famly = 1 }'), "events.types.x.famly", 'did you mean "family"?'),
    # Rating and time.
    ('[rating]\nrates_everyone = "no"', "rating.rates_everyone", '"no" is neither true nor false'),
    ("[rating]\nrates_everyone = 0", "rating.rates_everyone", "0 is neither true nor false"),
    ("[rating]\nrated_customers_min = 0", "rating.rated_customers_min", "from 1 to"),
    ("[rating]\nrated_customers_min = true", "rating.rated_customers_min", "true is not a whole number"),
    ("[rating]\nrated_customers_min = 10.0", "rating.rated_customers_min", "10.0 is not a whole number"),
    ('[time]\nsweep_period = "1000m"', "time.sweep_period", 'take "16h" or "1008m", the nearest'),
    ('[time]\nsweep_period = "30s"', "time.sweep_period", 'take "1m", the nearest'),
    ('[time]\nsweep_period = "90s"', "time.sweep_period", 'take "1m" or "2m", the nearest'),
    ('[time]\nsweep_period = "0d"', "time.sweep_period", 'take "1m", the nearest'),
    ('[time]\nsweep_period = "5w"', "time.sweep_period", 'take "28d", the nearest'),
    ("[time]\nsweep_period = 1", "time.sweep_period", "1 is not a duration"),
    ("[time]\nhorizon_periods = 0", "time.horizon_periods", "from 1 to 13"),
    ("[time]\nhorizon_periods = 14", "time.horizon_periods", "from 1 to 13"),
    ("[time]\nhalf_lives_days = [1, 2, 3]", "time.half_lives_days", "3 half-lives; rows keep exactly 4"),
    ("[time]\nhalf_lives_days = [1, 2, 3, 4, 5]", "time.half_lives_days", "5 half-lives; rows keep exactly 4"),
    ("[time]\nhalf_lives_days = [1, 3, 2, 4]", "time.half_lives_days[2]", "2 is not above the 3 before it"),
    ("[time]\nhalf_lives_days = [0, 1, 2, 3]", "time.half_lives_days[0]", "0 is out of range"),
    ("[time]\nhalf_lives_days = [1, 2, 3, inf]", "time.half_lives_days[3]", "inf is out of range"),
    ("[time]\nhalf_lives_days = [1, 2, 3, true]", "time.half_lives_days[3]", "true is not a number"),
    ("[time]\nbehaviour_half_life_days = 0", "time.behaviour_half_life_days", "0 is out of range"),
    ("[time]\nbehaviour_half_life_days = '30d'", "time.behaviour_half_life_days", "is not a number"),
    ('[time]\nfuture_skew_max = "-5m"', "time.future_skew_max", '"-5m" is not a duration'),
    ("[time]\nfuture_skew_max = 2024-01-01", "time.future_skew_max", "2024-01-01 is not a duration"),
]


@pytest.mark.parametrize(("text", "path", "what"), FAULTS)
def test_a_fault_is_reported_at_its_path_with_value_and_remedy(text: str, path: str, what: str) -> None:
    faults = faults_of(text)

    assert any(fault.startswith(f"{path}: ") and what in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_all_faults_are_reported_at_once_in_the_order_of_the_sections() -> None:
    faults = faults_of(
        '[policy]\nname = ""\n[time]\nhorizon_periods = 0\nsweep_period = "1000m"\n'
        "[money]\namount_max = -1\n[axes.value]\nmargin = -2\n"
    )

    places = [fault.split(":")[0] for fault in faults]
    assert places[0] == "policy.name"
    assert places[-3:] == ["money.amount_max", "time.sweep_period", "time.horizon_periods"]
    assert {"axes.value.score", "axes.value.tiers", "axes.value.cuts", "axes.value.margin"} <= set(places)


def test_one_fault_does_not_bring_others_that_are_none() -> None:
    assert len(faults_of("[money]\namount_max = -1\n" + event_type('{ family = "browse", fixed_value = 5 }'))) == 1
    assert len(faults_of(axis_with("[0.8, 0.95]", "0.8"))) == 1
    assert len(faults_of("[time]\nhalf_lives_days = 3")) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places_in(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Find the path of every value in a document, down to keys and indices."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, item in items for place in places_in(item, (*path, key)))]


PLACES = [place for place in places_in(one_axis_document()) if place]


@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_at_any_place_gives_a_policy_or_faults_and_no_other_error(
    place: tuple[str | int, ...], value: object
) -> None:
    document: object = one_axis_document()
    table: object = document
    for key in place[:-1]:
        table = table[key]  # type: ignore[index] # The path was found by walking such a document.
    table[place[-1]] = value  # type: ignore[index] # As above.
    assert isinstance(document, dict)

    faults = None
    try:
        parse_policy(document)
    except SettingsError as error:
        faults = error.faults

    assert faults is None or all("\n" not in fault and ": " in fault for fault in faults)
    assert faults if value is None else faults != ()
