"""A valid policy document becomes exactly the policy that it says."""

import tomllib

import pytest

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family
from stream_app.domain.policy import CutRule, EventRule, Treatment
from stream_app.domain.policy_defaults import complete
from stream_app.domain.policy_parsing import parse_policy
from tests.factories import one_axis_document
from tests.policy_documents import AXIS, TWO_AXES, axis_with, parse


def treatments(*segments: str) -> str:
    return "".join(
        f'[[treatments]]\nsegment = {segment}\nchannel = "human"\naction = "Call."\n' for segment in segments
    )


def test_a_policy_that_rates_only_buyers_must_map_a_purchase() -> None:
    document = one_axis_document()
    document["events"] = {"default_type": "visit", "types": {"visit": {"family": "browse"}}}
    with pytest.raises(SettingsError) as caught:
        parse_policy(document)
    assert caught.value.faults[0].startswith('events.types: no type of family "purchase"')

    document["rating"] = {"rates_everyone": True, "rated_customers_min": 100}
    assert parse_policy(document).event_rules == {"visit": EventRule(Family.BROWSE)}


def test_an_incomplete_document_without_a_default_names_every_missing_section() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_policy({})

    places = {fault.split(":")[0] for fault in caught.value.faults}
    assert {"policy", "axes", "treatments", "money", "events", "rating", "time"} <= places


def test_an_axis_may_use_any_score_function_that_there_is() -> None:
    document = complete(tomllib.loads(AXIS.replace('score = "value"', 'score = "calm"')), one_axis_document())

    assert parse_policy(document, score_names=("value", "calm")).axes[0].score == "calm"


def test_several_axes_keep_the_order_of_the_file() -> None:
    policy = parse(TWO_AXES + treatments('["big", "high"]', '["*", "*"]'))

    assert policy.axis_names == ("value", "worth")
    worth = policy.axes[1]
    assert (worth.cut_rule, worth.cuts, worth.margin) == (CutRule.ABSOLUTE, (3.0,), (2.0, 2.0))
    assert worth.confirmation_ms == 14 * 86_400_000
    assert policy.treatment_rules[0] == (("big", "high"), Treatment("human", "Call."))


def test_absolute_cuts_may_be_negative_and_their_margin_larger_than_one() -> None:
    text = axis_with('"quantiles"\ncuts = [0.8, 0.95]\nmargin = 0.25', '"absolute"\ncuts = [-5, 3.5]\nmargin = 10')

    axis = parse(text).axes[0]

    assert (axis.cuts, axis.margin) == ((-5.0, 3.5), (10.0, 10.0))


def test_the_margins_of_rising_and_falling_may_differ() -> None:
    one, two, same = (
        parse(axis_with("margin = 0.25", f"margin = {margin}")) for margin in ("0.3", "[0.3, 0.5]", "[0.3, 0.3]")
    )

    assert [policy.axes[0].margin for policy in (one, two, same)] == [(0.3, 0.3), (0.3, 0.5), (0.3, 0.3)]
    assert one.content_hash == same.content_hash
    assert one.content_hash != two.content_hash


def test_an_event_rule_says_all_that_the_file_says() -> None:
    policy = parse(
        '[events.types]\n"Gespräch" = { family = "support", fixed_value = 12.5, satisfaction = ["antwort", "a.b"], '
        "satisfaction_range = [6, 1] }\n"
        'Kauf = { family = "purchase", fixed_value = 3 }'
    )

    assert policy.event_rules["Gespräch"] == EventRule(
        Family.SUPPORT, None, 12.5, satisfaction_path=("antwort", "a.b"), satisfaction_range=(6.0, 1.0)
    )
    assert policy.event_rules["Kauf"] == EventRule(Family.PURCHASE, None, 3.0)


def test_texts_may_use_every_script_and_joined_emoji() -> None:
    # A zero-width non-joiner between Persian letters, and a joiner between two emoji.
    name = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f4bb"

    assert parse(f'[policy]\nname = "{name}"').name == name


def test_rates_always_hold_the_reporting_currency_at_one() -> None:
    assert parse("[money.rates]\nEUR = 1.1\nUSD = 1").currency_rates == {"USD": 1.0, "EUR": 1.1}
    assert parse('[money]\nreporting_currency = "EUR"').currency_rates == {"EUR": 1.0}
