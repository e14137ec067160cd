"""From a parsed TOML document to a validated policy, with all faults at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_MINUTE
from stream_app.domain.policy import Policy, sweep_period_fault
from stream_app.domain.policy_axes import read_axes, read_treatments
from stream_app.domain.policy_events import read_default_type, read_event_rules
from stream_app.domain.policy_reading import Bounds, Faults, TableReader, check_number, read_increasing, show_value

AMOUNT_LIMIT = 1e15
"""Largest `amount_max`: sums of amounts keep their cents in float64 below it."""
HORIZON_PERIODS_MAX = 13
"""A year: rows keep two totals for each period of the horizon."""
HALF_LIVES_COUNT = 4
HALF_LIFE_DAYS_MAX = 36_500
RATED_CUSTOMERS_LIMIT = 1_000_000_000
CURRENCIES_MAX = 500

SECTIONS = ("policy", "axes", "treatments", "money", "events", "rating", "time")
"""Top-level tables of a policy file, in the order of the default one."""
_KEYS = {
    "policy": ("name", "owner", "objective"),
    "money": ("reporting_currency", "amount_max", "rates"),
    "events": ("default_type", "types"),
    "rating": ("rates_everyone", "rated_customers_min"),
    "time": ("sweep_period", "horizon_periods", "half_lives_days", "behaviour_half_life_days", "future_skew_max"),
}
_CURRENCY = re.compile(r"[A-Z]{3}")
_CURRENCY_ALLOWED = 'allowed are three capital letters of ISO 4217; write it as "USD"'
_AMOUNT = Bounds(0.0, AMOUNT_LIMIT, is_low_open=True)
_RATE = Bounds(0.0, AMOUNT_LIMIT, is_low_open=True)
_HALF_LIFE = Bounds(0.0, HALF_LIFE_DAYS_MAX, is_low_open=True)


def parse_policy(document: Mapping[str, object], *, score_names: Collection[str] = ("value", "growth")) -> Policy:
    """Make a policy of a complete document (see `policy_defaults.complete` for one with parts missing).

    Parameters
    ----------
    document
        What a TOML parser gives for a policy file.
    score_names
        Score functions that an axis may name.

    Returns
    -------
    Policy

    Raises
    ------
    SettingsError
        With code `invalid_policy` and every fault, each beginning with its TOML path.
    """
    faults = Faults()
    root = TableReader(document, "", faults)
    root.refuse_unknown(SECTIONS)
    sections = {name: root.table(name) for name in _KEYS}
    for name, section in sections.items():
        section.refuse_unknown(_KEYS[name])
    head, money, events = sections["policy"], sections["money"], sections["events"]
    rating, time = sections["rating"], sections["time"]
    # Arguments are read in this order, which is that of the faults.
    policy = Policy(
        name=head.text("name"),
        owner=head.text("owner", is_blank_allowed=True),
        objective=head.text("objective", is_blank_allowed=True),
        axes=(axes := read_axes(root, score_names)),
        treatment_rules=read_treatments(root, axes),
        reporting_currency=(currency := _read_currency(money)),
        amount_max=(amount_max := money.number("amount_max", _AMOUNT)),
        currency_rates=_read_rates(money, currency),
        rates_everyone=(rates_everyone := rating.boolean("rates_everyone")),
        rated_customers_min=rating.integer("rated_customers_min", 1, RATED_CUSTOMERS_LIMIT),
        event_rules=(rules := read_event_rules(events, amount_max, is_purchase_needed=not rates_everyone)),
        default_event_type=read_default_type(events, rules),
        sweep_period_minutes=_read_sweep_period(time),
        horizon_periods=time.integer("horizon_periods", 1, HORIZON_PERIODS_MAX),
        half_lives_days=_read_half_lives(time),
        behaviour_half_life_days=time.number("behaviour_half_life_days", _HALF_LIFE),
        future_skew_max_ms=time.duration_ms("future_skew_max") or 0,
    )
    if len(faults):
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        message = f"the policy has {count}; correct them all, then run `stream-app policy check FILE`"
        raise SettingsError(message, code="invalid_policy", faults=faults.lines())
    return policy


def _read_currency(money: TableReader) -> str:
    faults_before = len(money.faults)
    currency = money.text("reporting_currency")
    if not _CURRENCY.fullmatch(currency) and len(money.faults) == faults_before:
        what = f"{show_value(currency)} is no currency; {_CURRENCY_ALLOWED}"
        money.faults.add(money.path_of("reporting_currency"), what)
    return currency


def _read_rates(money: TableReader, reporting_currency: str) -> dict[str, float]:
    """Read the rates, and add the reporting currency, which is worth 1 of itself."""
    table = money.table("rates")
    if len(table.values) > CURRENCIES_MAX:
        what = f"{len(table.values):,} currencies; at most {CURRENCIES_MAX} are allowed; remove some"
        table.faults.add(table.path, what)
    rates = {reporting_currency: 1.0}
    for currency, value in table.values.items():
        path = table.path_of(currency)
        if not _CURRENCY.fullmatch(currency):
            table.faults.add(path, f"{show_value(currency)} is no currency; {_CURRENCY_ALLOWED}")
            continue
        rate = check_number(value, _RATE, path, table.faults)
        if currency == reporting_currency and rate not in (0.0, 1.0):
            what = f"{show_value(value)} for the reporting currency itself; only 1 is allowed; write 1 or remove it"
            table.faults.add(path, what)
        rates[currency] = rate
    return rates


def _read_sweep_period(time: TableReader) -> int:
    period_ms = time.duration_ms("sweep_period")
    if period_ms is None:
        return 1
    fault = sweep_period_fault(period_ms)
    if fault is not None:
        time.faults.add(time.path_of("sweep_period"), fault)
        return 1
    return period_ms // MS_PER_MINUTE


def _read_half_lives(time: TableReader) -> tuple[float, float, float, float]:
    faults_before = len(time.faults)
    values = time.array("half_lives_days", HALF_LIVES_COUNT * 10)
    path = time.path_of("half_lives_days")
    if len(values) != HALF_LIVES_COUNT and len(time.faults) == faults_before:
        what = f"{len(values)} half-lives; rows keep exactly {HALF_LIVES_COUNT}; write that many, increasing"
        time.faults.add(path, what)
    days = read_increasing(values, _HALF_LIFE, path, time.faults)
    if len(days) != HALF_LIVES_COUNT:
        return (1.0, 2.0, 3.0, 4.0)
    return (days[0], days[1], days[2], days[3])
