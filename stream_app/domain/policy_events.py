"""The section of a policy that says what event types mean."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stream_app.domain.events import Family
from stream_app.domain.policy import EventRule
from stream_app.domain.policy_reading import (
    FINITE,
    Bounds,
    TableReader,
    as_table,
    as_text,
    check_number,
    is_clean,
    show_value,
    suggest,
)

EVENT_TYPES_MAX = 2000
EVENT_TYPE_LENGTH_MAX = 256
PATH_KEYS_MAX = 10
IGNORED_FAMILY = "ignore"
"""Takes an event type of the default out of an owner's policy."""

_MONEY_FAMILIES = (Family.PURCHASE, Family.REFUND)
_FAMILIES = {family.name.lower(): family for family in Family}
_RULE_KEYS = ("family", "amount", "fixed_value", "satisfaction", "satisfaction_range")
_SATISFACTION_RANGE = (0.0, 1.0)


def read_event_rules(events: TableReader, amount_max: float, *, is_purchase_needed: bool) -> dict[str, EventRule]:
    """Read `[events.types]`.

    Parameters
    ----------
    events
        The section.
    amount_max
        Largest amount that is believed, in the reporting currency; a fixed value is not larger.
    is_purchase_needed
        True when only buyers are rated, for then a policy without purchases rates nobody.

    Returns
    -------
    dict[str, EventRule]
        Meaningful only when no fault was noted; without the types that are to be ignored.
    """
    types = events.table("types")
    if len(types.values) > EVENT_TYPES_MAX:
        what = f"{len(types.values):,} types; at most {EVENT_TYPES_MAX:,} are allowed; remove some"
        types.faults.add(types.path, what)
        return {}
    faults_before = len(types.faults)
    rules = {}
    for name, value in types.values.items():
        path = types.path_of(name)
        if len(as_text(name, path, types.faults)) > EVENT_TYPE_LENGTH_MAX:
            what = f"{len(name)} characters; at most {EVENT_TYPE_LENGTH_MAX} are allowed; shorten the type"
            types.faults.add(path, what)
        rule = _read_rule(TableReader(as_table(value, path, types.faults), path, types.faults), amount_max)
        if rule is not None:
            rules[name] = rule
    has_purchase = any(rule.family is Family.PURCHASE for rule in rules.values())
    if is_purchase_needed and not has_purchase and len(types.faults) == faults_before and "types" in events.values:
        what = 'no type of family "purchase", but only buyers are rated; map one, or set rating.rates_everyone = true'
        types.faults.add(types.path, what)
    return rules


def _read_rule(table: TableReader, amount_max: float) -> EventRule | None:
    """Read one type; None for an ignored type, and after a fault in its family."""
    table.refuse_unknown(_RULE_KEYS)
    family_name = table.choice("family", (*_FAMILIES, IGNORED_FAMILY))
    if family_name is None:
        return None
    if family_name == IGNORED_FAMILY:
        if len(table.values) > 1:
            what = f'other keys than family = "{IGNORED_FAMILY}"; an ignored type has none; remove them'
            table.faults.add(table.path, what)
        return None
    family = _FAMILIES[family_name]
    _check_worth(table, family)
    fixed_value = None
    if "fixed_value" in table.values:
        # After a fault in amount_max there is nothing to compare with.
        fixed_value = table.number("fixed_value", Bounds(0.0, amount_max or math.inf, is_low_open=True))
    return EventRule(
        family=family,
        amount_path=_read_path(table, "amount"),
        fixed_value=fixed_value,
        satisfaction_path=_read_path(table, "satisfaction"),
        satisfaction_range=_read_range(table),
    )


def _check_worth(table: TableReader, family: Family) -> None:
    """Money families say where the amount is or what each event is worth, the others at most what each is worth."""
    has_amount, has_fixed_value = "amount" in table.values, "fixed_value" in table.values
    name = family.name.lower()
    if family in _MONEY_FAMILIES and not has_amount and not has_fixed_value:
        what = f'a {name} without an amount; say where it stands, as amount = "amount", or give each a fixed_value'
        table.faults.add(table.path, what)
    elif family in _MONEY_FAMILIES and has_amount and has_fixed_value:
        table.faults.add(table.path, "both amount and fixed_value; one of them is allowed; remove the other")
    elif family not in _MONEY_FAMILIES and has_amount:
        what = f"family {name} has no amount; only purchase and refund have one; remove it, or give each a fixed_value"
        table.faults.add(table.path_of("amount"), what)


def _read_path(table: TableReader, key: str) -> tuple[str, ...] | None:
    """Read where a field stands: keys joined by dots, or a list of keys; None when the key is not there."""
    if key not in table.values:
        return None
    value, path = table.values[key], table.path_of(key)
    keys = value.split(".") if isinstance(value, str) else value
    if isinstance(keys, (list, tuple)) and 1 <= len(keys) <= PATH_KEYS_MAX:
        named = tuple(each for each in keys if isinstance(each, str) and each.strip() and is_clean(each))
        if len(named) == len(keys):
            return named
    allowed = f"allowed are 1 to {PATH_KEYS_MAX} keys joined by dots"
    table.faults.add(path, f'{show_value(value)} is no place in an event; {allowed}; write it as "properties.revenue"')
    return None


def _read_range(table: TableReader) -> tuple[float, float]:
    if "satisfaction_range" not in table.values:
        return _SATISFACTION_RANGE
    path = table.path_of("satisfaction_range")
    if "satisfaction" not in table.values:
        what = 'a range without a satisfaction; say where it stands, as satisfaction = "properties.rating"'
        table.faults.add(path, what)
    faults_before = len(table.faults)
    ends = table.array("satisfaction_range", 10)
    if len(ends) != 2 and len(table.faults) == faults_before:
        table.faults.add(path, f"{len(ends)} ends; a range has two; write [worst, best]")
    numbers = [check_number(end, FINITE, f"{path}[{index}]", table.faults) for index, end in enumerate(ends)]
    if len(table.faults) > faults_before:
        return _SATISFACTION_RANGE
    if numbers[0] == numbers[1]:
        table.faults.add(path, f"worst and best are both {show_value(ends[0])}; they differ; write [worst, best]")
    return (numbers[0], numbers[1])


def read_default_type(events: TableReader, rules: Mapping[str, EventRule]) -> str:
    """Read the type of events that have none; it must have a rule."""
    faults_before = len(events.faults)
    name = events.text("default_type")
    if name not in rules and rules and len(events.faults) == faults_before:
        what = f"{show_value(name)} is no type of [events.types] that counts; {suggest(name, rules)}"
        events.faults.add(events.path_of("default_type"), what)
    return name
