"""The sections of a policy that make the segment: axes with their tiers and cuts, and treatments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence

from stream_app.domain.policy import ANY_TIER, PROSPECT_NAME, UNRATED_NAME, AxisPolicy, CutRule, Margin, Treatment
from stream_app.domain.policy_coverage import Pattern, is_reachable, uncovered_segment
from stream_app.domain.policy_reading import (
    FINITE,
    Bounds,
    Faults,
    TableReader,
    as_table,
    check_number,
    join_path,
    read_increasing,
    show_value,
    suggest,
)

AXES_MAX = 8
"""Most axes of a policy: each takes room in every customer's row."""
TIERS_MAX = 20
"""Most tiers of an axis; a person has to tell them apart, and a row keeps them in 8 bits."""
TREATMENTS_MAX = 500
NAME_LENGTH_MAX = 40
CHANNELS = ("human", "digital")

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED_NAMES = (UNRATED_NAME, PROSPECT_NAME, ANY_TIER)
_AXIS_KEYS = ("score", "tiers", "cut_rule", "cuts", "margin", "confirmation")
_TREATMENT_KEYS = ("segment", "channel", "action")
_QUANTILE = Bounds(0.0, 1.0, is_low_open=True, is_high_open=True)
_QUANTILE_MARGIN = Bounds(0.0, 1.0, is_high_open=True)
_SCORE_MARGIN = Bounds(0.0, math.inf)


def read_axes(document: TableReader, score_names: Collection[str]) -> tuple[AxisPolicy, ...]:
    """Read `[axes.*]` in their order.

    Parameters
    ----------
    document
        The whole document.
    score_names
        Score functions that there are.

    Returns
    -------
    tuple[AxisPolicy, ...]
        Meaningful only when no fault was noted.
    """
    axes = document.table("axes")
    if "axes" in document.values and not 1 <= len(axes.values) <= AXES_MAX:
        what = f"{len(axes.values)} axes; a policy has 1 to {AXES_MAX}; write each as a table [axes.name]"
        axes.faults.add(axes.path, what)
    read = []
    for name, value in axes.values.items():
        path = axes.path_of(name)
        table = TableReader(as_table(value, path, axes.faults), path, axes.faults)
        read.append(_read_axis(name, table, score_names))
    return tuple(read)


def _read_axis(name: str, axis: TableReader, score_names: Collection[str]) -> AxisPolicy:
    name_fault = _name_fault(name)
    if name_fault is not None:
        axis.faults.add(axis.path, name_fault)
    axis.refuse_unknown(_AXIS_KEYS)
    score = axis.choice("score", score_names)
    tiers = _read_tiers(axis)
    rule_name = axis.choice("cut_rule", [str(rule) for rule in CutRule])
    rule = CutRule(rule_name) if rule_name is not None else None
    cuts = _read_cuts(axis, rule, len(tiers))
    return AxisPolicy(
        name=name,
        score=score or "",
        tiers=tiers,
        cut_rule=rule or CutRule.QUANTILES,
        cuts=cuts,
        margin=_read_margin(axis, rule),
        confirmation_ms=axis.duration_ms("confirmation") or 0,
    )


def _name_fault(name: object) -> str | None:
    """Say what is wrong with the name of an axis or tier, or None."""
    allowed = f"allowed are lower-case letters, digits and _, a letter first, at most {NAME_LENGTH_MAX}; rename it"
    if name in _RESERVED_NAMES:
        return f"{show_value(name)} is a reserved name; {allowed}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        return f"{show_value(name)} is no name; {allowed}"
    return None


def _read_tiers(axis: TableReader) -> tuple[str, ...]:
    faults_before = len(axis.faults)
    tiers = axis.array("tiers", TIERS_MAX)
    path = axis.path_of("tiers")
    if len(tiers) < 2 and len(axis.faults) == faults_before:
        axis.faults.add(path, f"{len(tiers)} tiers; an axis has at least 2; name them from lowest to highest")
    for index, tier in enumerate(tiers):
        fault = _name_fault(tier)
        if fault is None and tier in tiers[:index]:
            fault = f"{show_value(tier)} stands there twice; names of tiers differ; rename one"
        if fault is not None:
            axis.faults.add(f"{path}[{index}]", fault)
    return tuple(str(tier) for tier in tiers)


def _read_cuts(axis: TableReader, rule: CutRule | None, tier_count: int) -> tuple[float, ...]:
    faults_before = len(axis.faults)
    values = axis.array("cuts", TIERS_MAX)
    path = axis.path_of("cuts")
    if tier_count and len(values) != tier_count - 1 and len(axis.faults) == faults_before:
        what = f"{len(values)} cuts for {tier_count} tiers; there is one cut between two tiers; write {tier_count - 1}"
        axis.faults.add(path, what)
    bounds = _QUANTILE if rule is CutRule.QUANTILES else FINITE
    return read_increasing(values, bounds, path, axis.faults)


def _read_margin(axis: TableReader, rule: CutRule | None) -> Margin:
    """Read one margin for both ways, or a pair: to rise, to fall."""
    bounds = _QUANTILE_MARGIN if rule is CutRule.QUANTILES else _SCORE_MARGIN
    if not isinstance(axis.values.get("margin"), (list, tuple)):
        both = axis.number("margin", bounds)
        return Margin(both, both)
    pair, path = axis.array("margin", TIERS_MAX), axis.path_of("margin")
    numbers = [check_number(value, bounds, f"{path}[{place}]", axis.faults) for place, value in enumerate(pair)]
    if len(numbers) == 2:
        return Margin(*numbers)
    what = f"{len(numbers)} margins; write one number, or two: how far beyond a cut to rise, and to fall"
    axis.faults.add(path, what)
    return Margin(0.0, 0.0)


def read_treatments(document: TableReader, axes: Sequence[AxisPolicy]) -> tuple[tuple[Pattern, Treatment], ...]:
    """Read `[[treatments]]` in their order, and check that every segment has one and every one can apply.

    Parameters
    ----------
    document
        The whole document.
    axes
        The axes as read; their faults are noted elsewhere.

    Returns
    -------
    tuple[tuple[Pattern, Treatment], ...]
        Meaningful only when no fault was noted.
    """
    faults = document.faults
    if "treatments" not in document.values:
        faults.add("treatments", "missing; say what to do with each segment in tables [[treatments]]")
        return ()
    values = document.array("treatments", TREATMENTS_MAX)
    faults_before = len(faults)
    rules = []
    for index, value in enumerate(values):
        path = f"treatments[{index}]"
        table = TableReader(as_table(value, path, faults), path, faults)
        table.refuse_unknown(_TREATMENT_KEYS)
        pattern = _read_pattern(table, axes)
        channel = table.choice("channel", CHANNELS) or ""
        rules.append((pattern, Treatment(channel=channel, action=table.text("action"))))
    if len(faults) == faults_before and axes:
        _check_coverage([pattern for pattern, _ in rules], axes, faults)
    return tuple(rules)


def _read_pattern(table: TableReader, axes: Sequence[AxisPolicy]) -> Pattern:
    faults_before = len(table.faults)
    entries = table.array("segment", AXES_MAX)
    path = table.path_of("segment")
    if len(entries) != len(axes) and len(table.faults) == faults_before:
        names = ", ".join(join_path("axes", axis.name) for axis in axes)
        what = f"{len(entries)} entries for {len(axes)} axes ({names}); write one for each axis, in that order"
        table.faults.add(path, what)
        return ()
    for index, (entry, axis) in enumerate(zip(entries, axes, strict=False)):
        allowed = (*axis.tiers, *_RESERVED_NAMES)
        if not isinstance(entry, str) or entry not in allowed:
            hint = suggest(entry if isinstance(entry, str) else "", allowed)
            what = f"{show_value(entry)} is no tier of {join_path('axes', axis.name)}; {hint}"
            table.faults.add(f"{path}[{index}]", what)
    return tuple(str(entry) for entry in entries)


def _check_coverage(patterns: Sequence[Pattern], axes: Sequence[AxisPolicy], faults: Faults) -> None:
    states = [(*axis.tiers, UNRATED_NAME, PROSPECT_NAME) for axis in axes]
    for index, pattern in enumerate(patterns):
        if not is_reachable(pattern, patterns[:index], states):
            what = f"{json.dumps(pattern)} can never apply: those above it fit first; move it up or remove it"
            faults.add(f"treatments[{index}].segment", what)
    missing = uncovered_segment(patterns, states)
    if missing is not None:
        everything = json.dumps([ANY_TIER] * len(axes))
        what = f"none for {json.dumps(missing)}; every combination needs one; add it, or a last one for {everything}"
        faults.add("treatments", what)
