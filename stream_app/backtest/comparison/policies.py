"""The policies that are compared: their files, their short names, and the settings in which they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stream_app.adapters.policy_file import default_document, load_policy, read_document
from stream_app.domain.durations import format_duration, parse_duration_ms
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_MINUTE
from stream_app.domain.policy import Policy
from stream_app.domain.policy_defaults import complete
from stream_app.domain.policy_parsing import SECTIONS
from stream_app.domain.policy_reading import join_path

POLICIES_MAX: Final = 8
"""More cannot be told apart side by side."""
RESERVED_NAMES: Final = ("report.html", "comparison.json")
"""Names in the folder of the results that no policy's folder may have."""
_NAME_LENGTH_MAX: Final = 60
_DURATIONS: Final = ("confirmation", "sweep_period", "future_skew_max")
_TITLES: Final = ("policy.name", "policy.owner", "policy.objective")
"""Said of each policy anyway, and no setting."""
_ORDER_OF_AXES: Final = "order of axes"
_ORDER_OF_TREATMENTS: Final = "order of treatments"
_TREATMENT_OF: Final = "treatment of "
_ORDERS: Final = (_ORDER_OF_AXES, _ORDER_OF_TREATMENTS)
SEPARATOR: Final = " \u00b7 "
"""Between the tiers of a segment where it is written in one line."""


@dataclass(frozen=True, slots=True, eq=False)
class ComparedPolicy:
    """One of the policies that are compared.

    Parameters
    ----------
    name
        Short and unique in the comparison, taken from the file's name: heads columns and names the folder.
    path
        Its file.
    policy
        What the file says, the command line's sweep period included.
    document
        The same as a complete TOML document.
    """

    name: str
    path: Path
    policy: Policy
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting in which policies differ.

    Parameters
    ----------
    setting
        Its path in the policy file, as `axes.value.cuts`.
    values
        As the files would write it, one for each policy; None where a policy has no such setting.
    """

    setting: str
    values: tuple[str | None, ...]

    @property
    def is_treatment(self) -> bool:
        """Whether it says what to do with the customers of a segment."""
        return self.setting.startswith(_TREATMENT_OF)


def load_policies(paths: Sequence[Path], sweep_period_minutes: int | None) -> tuple[ComparedPolicy, ...]:
    """Read the policies to compare, the first of which the others are held against.

    Parameters
    ----------
    paths
        At least two files.
    sweep_period_minutes
        Takes the place of every policy's own sweep period, unless None.

    Raises
    ------
    SettingsError
        When a file is no policy, or there are too many to be told apart.
    """
    if len(paths) > POLICIES_MAX:
        message = f"--policy: {len(paths)} policies; at most {POLICIES_MAX} are compared side by side; leave some out"
        raise SettingsError(message, code="too_many_policies")
    names = folder_names(paths)
    return tuple(_load(name, path, sweep_period_minutes) for name, path in zip(names, paths, strict=True))


def folder_names(paths: Sequence[Path]) -> list[str]:
    """Name each policy after its file, with a number where that name is taken.

    Parameters
    ----------
    paths
        Policy files.

    Returns
    -------
    list[str]
        Safe as a folder's name, none like another one even where case does not count.

    Examples
    --------
    >>> folder_names([Path("a/shop.toml"), Path("b/shop.toml"), Path("B 2.toml")])
    ['shop', 'shop-2', 'B-2']
    """
    taken, names = {name.casefold() for name in RESERVED_NAMES}, []
    for path in paths:
        stem = re.sub(r"[^\w.-]+", "-", path.stem).strip(".-")[:_NAME_LENGTH_MAX].rstrip(".-") or "policy"
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def find_differences(policies: Sequence[ComparedPolicy]) -> list[Difference]:
    """Find the settings in which policies differ.

    Parameters
    ----------
    policies
        All of them.

    Returns
    -------
    list[Difference]
        In the order of the files; durations are compared as times, and numbers as numbers, however they are written.
        Name, owner and objective are no settings.
    """
    flat = [dict(_flatten(policy.document)) for policy in policies]
    found = []
    for setting in dict.fromkeys(setting for own in flat for setting in own):
        values = [own.get(setting) for own in flat]
        if setting in _TITLES or all(value == values[0] for value in values):
            continue
        if setting in _ORDERS and _is_same_order([own[setting] for own in flat]):
            continue
        found.append(Difference(setting, tuple(None if value is None else _written(value) for value in values)))
    return found


def _load(name: str, path: Path, sweep_period_minutes: int | None) -> ComparedPolicy:
    policy = load_policy(path)
    document = complete(read_document(path), default_document())
    if sweep_period_minutes is not None:
        policy = policy.with_sweep_period(sweep_period_minutes)
        time = document["time"]
        assert isinstance(time, dict)
        document["time"] = {**time, "sweep_period": format_duration(sweep_period_minutes * MS_PER_MINUTE)}
    return ComparedPolicy(name, path, policy, document)


def _flatten(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Give every setting with its path, sections in their order; treatments by the segments they are for."""
    settings: list[tuple[str, Any]] = []
    for section in SECTIONS:
        if section == "treatments":
            settings.extend(_treatments(document[section]))
        else:
            settings.extend(_settings_of(section, document[section]))
    return settings


def _treatments(rules: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    patterns = [SEPARATOR.join(rule["segment"]) for rule in rules]
    settings = [
        (f"{_TREATMENT_OF}{pattern}", f"{rule['channel']}: {rule['action']}")
        for pattern, rule in zip(patterns, rules, strict=True)
    ]
    # The first that fits holds, so the same rules in another order are other rules.
    return [*settings, (_ORDER_OF_TREATMENTS, patterns)]


def _settings_of(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and not path.startswith("events.types."):
        settings = [found for key, item in value.items() for found in _settings_of(join_path(path, key), item)]
        # Changes of one moment are told in the order of the axes, and treatments name tiers in it.
        return [*settings, (_ORDER_OF_AXES, list(value))] if path == "axes" else settings
    if path.rpartition(".")[2] in _DURATIONS and isinstance(value, str):
        return [(path, format_duration(parse_duration_ms(value)))]
    return [(path, value)]


def _is_same_order(lists: Sequence[Sequence[str]]) -> bool:
    """Whether what all lists have stands in the same order in each of them; what only some have is told anyway."""
    shared = set(lists[0]).intersection(*lists[1:])
    orders = [[item for item in own if item in shared] for own in lists]
    return all(order == orders[0] for order in orders)


def _written(value: Any) -> str:
    """Write a value so that people can read it: text as it is, the rest as in the file."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {json.dumps(item, ensure_ascii=False)}" for key, item in value.items())
    return json.dumps(value, ensure_ascii=False)
