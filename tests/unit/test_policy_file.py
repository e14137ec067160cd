"""Policy files are read with what the default adds to them, and written so that they read back the same."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.policy_file import (
    POLICY_BYTES_MAX,
    default_document,
    default_text,
    load_policy,
    read_document,
)
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import Family
from stream_app.domain.policy import CutRule
from stream_app.domain.policy_defaults import complete, parts_from_default
from stream_app.domain.policy_parsing import parse_policy
from stream_app.domain.policy_writing import write_policy

DEFAULT = load_policy(None)
MARGINS = st.floats(0, 1, exclude_max=True)


def save(folder: Path, content: str | bytes) -> Path:
    path = folder / "policy.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_default_policy_says_what_its_documentation_says() -> None:
    axis, growth = DEFAULT.axes
    assert (growth.name, growth.score, growth.tiers) == ("growth", "growth", ("declining", "steady", "growing"))
    assert (growth.cuts, growth.margin, growth.confirmation_ms) == ((0.2, 0.8), (0.25, 0.25), 14 * 86_400_000)
    assert (axis.name, axis.score, axis.tiers) == ("value", "value", ("small", "big", "vip"))
    assert (axis.cut_rule, axis.cuts, axis.margin) == (CutRule.QUANTILES, (0.8, 0.95), (0.2, 0.6))
    assert axis.confirmation_ms == 0
    assert (DEFAULT.sweep_period_minutes, DEFAULT.horizon_periods) == (1_440, 3)
    assert (DEFAULT.half_lives_days, DEFAULT.behaviour_half_life_days) == ((14.0, 30.0, 90.0, 365.0), 30.0)
    assert (DEFAULT.rates_everyone, DEFAULT.rated_customers_min) == (False, 100)
    assert (DEFAULT.reporting_currency, DEFAULT.currency_rates, DEFAULT.amount_max) == ("USD", {"USD": 1.0}, 1e9)
    assert (DEFAULT.default_event_type, DEFAULT.future_skew_max_ms) == ("purchase", 300_000)


@pytest.mark.parametrize("family", Family)
def test_the_default_policy_maps_each_family_by_its_own_name_and_by_one_of_segment(family: Family) -> None:
    types = {name for name, rule in DEFAULT.event_rules.items() if rule.family is family}

    assert family.name.lower() in types
    assert any(name[0].isupper() for name in types)


def test_the_default_policy_knows_where_the_tracking_specification_puts_money() -> None:
    assert DEFAULT.event_rules["Order Completed"].amount_path == ("properties", "revenue")
    assert DEFAULT.event_rules["Order Refunded"].amount_path == ("properties", "total")


def test_a_comment_or_another_layout_does_not_change_the_hashes(tmp_path: Path) -> None:
    text = "\r\n".join(line for line in default_text().splitlines() if not line.startswith("#")) + "\r\n# New.\r\n"

    assert load_policy(save(tmp_path, text)) == DEFAULT


def test_an_empty_file_is_the_default_policy(tmp_path: Path) -> None:
    assert load_policy(save(tmp_path, "")) == DEFAULT


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert load_policy(save(tmp_path, b'\xef\xbb\xbf[policy]\nname = "mine"')).name == "mine"


def test_a_key_that_is_missing_is_as_in_the_default(tmp_path: Path) -> None:
    policy = load_policy(save(tmp_path, '[time]\nsweep_period = "7d"'))

    assert policy.sweep_period_minutes == 10_080
    assert policy == DEFAULT.with_sweep_period(10_080)


def test_an_event_type_of_ones_own_joins_those_of_the_default_and_replaces_a_rule_wholly(tmp_path: Path) -> None:
    rules = '[events.types]\nvisit = { family = "browse" }\nnps = { family = "feedback" }\nview = { family = "ignore" }'

    policy = load_policy(save(tmp_path, rules))

    assert policy.event_rules["visit"].family is Family.BROWSE
    assert policy.event_rules["nps"].satisfaction_path is None
    assert set(policy.event_rules) == (set(DEFAULT.event_rules) | {"visit"}) - {"view"}


AXES = """
[axes.loyalty]
score = "value"
tiers = {tiers}
cut_rule = "quantiles"
cuts = [0.5, 0.9]
margin = 0
confirmation = "14d"
"""


def test_axes_of_ones_own_replace_those_of_the_default_wholly(tmp_path: Path) -> None:
    trend = AXES.replace("loyalty", "trend").format(tiers='["declining", "steady", "growing"]')
    policy = load_policy(save(tmp_path, AXES.format(tiers='["small", "big", "vip"]') + trend))

    assert policy.axis_names == ("loyalty", "trend")
    assert policy.treatment_rules == DEFAULT.treatment_rules


def test_the_treatments_of_the_default_are_not_taken_for_other_tiers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_policy(save(tmp_path, AXES.format(tiers='["low", "middle", "high"]')))

    assert caught.value.faults == ("treatments: missing; say what to do with each segment in tables [[treatments]]",)


def test_treatments_of_ones_own_replace_those_of_the_default_wholly(tmp_path: Path) -> None:
    policy = load_policy(save(tmp_path, '[[treatments]]\nsegment = ["*", "*"]\nchannel = "human"\naction = "Call."'))

    assert len(policy.treatment_rules) == 1


@pytest.mark.parametrize(
    ("money", "rates"),
    [
        ("", {"SEK": 0.1}),
        ('reporting_currency = "USD"', {"SEK": 0.1}),
        ('reporting_currency = "EUR"', {}),
        ("rates = {}", {}),
        ("rates = { EUR = 1.1 }", {"EUR": 1.1}),
        ('reporting_currency = "EUR"\nrates = { USD = 0.9 }', {"USD": 0.9}),
    ],
)
def test_rates_of_the_default_are_taken_whole_and_only_for_its_own_currency(
    money: str, rates: dict[str, float]
) -> None:
    default = {"money": {"reporting_currency": "USD", "rates": {"SEK": 0.1}}}

    effective = complete(tomllib.loads(f"[money]\n{money}"), default)

    assert isinstance(effective["money"], dict)
    assert effective["money"]["rates"] == rates


def test_the_parts_taken_from_the_default_are_named() -> None:
    document = tomllib.loads(
        '[policy]\nname = "x"\n[events]\ndefault_type = "order"\n[time]\nsweep_period = "7d"\n[axes]'
    )

    assert parts_from_default(document, default_document()) == (
        "policy.owner",
        "policy.objective",
        "treatments",
        "money",
        "events.types",
        "rating",
        "time.horizon_periods",
        "time.half_lives_days",
        "time.behaviour_half_life_days",
        "time.future_skew_max",
    )
    assert parts_from_default(default_document(), default_document()) == ()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[policy\nname = 1", "at line 1"),
        (b'[policy]\nname = "a\nb"', "at line 2"),
        (b"[policy]\n[policy]", "at line 2"),
        (b'[policy]\nname = "\xff"', "line 2 is not UTF-8"),
        ('[policy]\nname = "x"'.encode("utf-16"), "line 1 is not UTF-8"),
        (b"x = " + b"1" * 5_000, "no TOML"),
        (b"x = " + b"[" * 50_000, "nested too deeply"),
        (b"#" * (POLICY_BYTES_MAX + 1), "more than 1,000,000 bytes"),
        (b"\x00", "no TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = save(tmp_path, content)

    with pytest.raises(SettingsError) as caught:
        load_policy(path)

    assert caught.value.code == "unreadable_policy"
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("absent.toml", "no such file"),
        (".", "is a directory"),
        ("a\0b", "cannot be read"),
        ("policy.toml/x", "cannot be read"),
    ],
)
def test_a_path_that_is_no_file_is_refused_with_what_to_do(tmp_path: Path, name: str, what: str) -> None:
    save(tmp_path, "")

    with pytest.raises(SettingsError, match=what) as caught:
        load_policy(tmp_path / name)

    assert "stream-app policy show > policy.toml" in str(caught.value)


def test_faults_name_the_file_and_each_place(tmp_path: Path) -> None:
    path = save(tmp_path, "[time]\nhorizon_periods = 0\n[money]\namount_max = 0")

    with pytest.raises(SettingsError) as caught:
        load_policy(path)

    assert str(caught.value).startswith(f"{path}: the policy has 2 faults")
    assert len(caught.value.faults) == 2


OWN = """
[policy]
name = 'quotes " and \\ backslash'
objective = "two\\nlines, a\\ttab, 𝄞 and \u200d"
[axes.b]
score = "value"
tiers = ["low", "high"]
cut_rule = "absolute"
cuts = [1e-7]
margin = 1e16
confirmation = "2w"
[axes.a]
score = "value"
tiers = ["low", "high"]
cut_rule = "quantiles"
cuts = [0.5]
margin = 0
confirmation = "0s"
[[treatments]]
segment = ["high", "*"]
channel = "human"
action = "Call."
[[treatments]]
segment = ["*", "*"]
channel = "digital"
action = "Serve."
[money]
reporting_currency = "EUR"
rates = { USD = 0.9, SEK = 1e-1 }
[events]
types = { "a.b \\"c\\"" = { family = "purchase", amount = ["x.y", "z"] }, view = { family = "ignore" } }
"""


@pytest.mark.parametrize("text", ["", default_text(), OWN])
def test_a_policy_that_is_written_in_full_reads_back_the_same(text: str) -> None:
    document = complete(tomllib.loads(text), default_document())

    written = write_policy(document)

    assert tomllib.loads(written) == document
    assert parse_policy(tomllib.loads(written)) == parse_policy(document)


@given(
    name=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip),
    margin=MARGINS | st.lists(MARGINS, min_size=2, max_size=2),
    rate=st.floats(1e-9, 1e9),
)
def test_any_text_and_number_is_written_so_that_it_reads_back(
    name: str, margin: float | list[float], rate: float
) -> None:
    document = default_document()
    axes, types = document["axes"], document["events"]
    assert isinstance(axes, dict)
    assert isinstance(types, dict)
    axes["value"]["margin"] = margin
    types["types"][name[:200]] = {"family": "browse", "fixed_value": rate}

    assert tomllib.loads(write_policy(document)) == document
    parse_policy(document)


def test_reading_a_document_does_not_add_the_default(tmp_path: Path) -> None:
    assert read_document(save(tmp_path, "[time]\nhorizon_periods = 2")) == {"time": {"horizon_periods": 2}}
