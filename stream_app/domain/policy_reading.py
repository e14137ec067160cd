"""Typed reading of a parsed TOML document that notes every fault with its place instead of stopping at the first."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from unicodedata import category

from stream_app.domain.durations import parse_duration_ms
from stream_app.domain.errors import SettingsError

TEXT_LENGTH_MAX = 2000
"""Longest text in a policy, in characters: these texts travel in reports."""

_SHOWN_LENGTH_MAX = 60
_SUGGESTIONS_MAX = 12
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def join_path(path: str, key: str) -> str:
    """Append a key to a TOML path, quoted where TOML needs it.

    Examples
    --------
    >>> join_path("events.types", "Order Completed")
    'events.types."Order Completed"'
    """
    written = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{written}" if path else written


def show_value(value: object) -> str:
    """Write a value as TOML would, cut to what fits in a line; tables and arrays only by their size."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _SHOWN_LENGTH_MAX else f'{text[:_SHOWN_LENGTH_MAX]}..."'
    if isinstance(value, Mapping):
        return f"a table of {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**_SHOWN_LENGTH_MAX:
        return "an integer of absurd size"
    return str(value)


def as_number(value: object) -> float | None:
    """Take an integer or a float as a float, infinities and NaN included; None for everything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def suggest(word: str, known: Collection[str]) -> str:
    """Say which known word was probably meant, else which there are."""
    nearest = get_close_matches(word, sorted(known), n=1)
    if nearest:
        return f"did you mean {show_value(nearest[0])}?"
    shown = [show_value(each) for each in sorted(known)]
    more = ", ..." if len(shown) > _SUGGESTIONS_MAX else ""
    return f"allowed: {', '.join(shown[:_SUGGESTIONS_MAX])}{more}; take one of them"


def is_clean(text: str) -> bool:
    """Whether a text has no control characters but line feeds and tabs, and no half of a surrogate pair.

    Format characters stay allowed: some scripts and emoji need joiners.
    """
    return not any(category(character) in ("Cc", "Cs") and character not in "\n\t" for character in text)


class Faults:
    """Faults found so far, in the order of reading."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, path: str, what: str) -> None:
        """Note a fault: its place, then what is wrong, what is allowed and what to do."""
        self._lines.append(f"{path}: {what}")

    def lines(self) -> tuple[str, ...]:
        """All faults, one line each."""
        return tuple(self._lines)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers that are allowed.

    Parameters
    ----------
    low, high
        The ends.
    is_low_open, is_high_open
        True: the end itself is not allowed.
    """

    low: float
    high: float
    is_low_open: bool = False
    is_high_open: bool = False

    def hold(self, value: float) -> bool:
        """Whether the value is allowed; NaN never is."""
        is_above = value > self.low if self.is_low_open else value >= self.low
        is_below = value < self.high if self.is_high_open else value <= self.high
        return is_above and is_below and math.isfinite(value)

    def __str__(self) -> str:
        ends = []
        if math.isfinite(self.low):
            ends.append(f"{'above' if self.is_low_open else 'at least'} {self.low:,.15g}")
        if math.isfinite(self.high):
            ends.append(f"{'below' if self.is_high_open else 'at most'} {self.high:,.15g}")
        return " and ".join(ends or ["of any size"])


FINITE = Bounds(-math.inf, math.inf)


class TableReader:
    """One table of the document; every method notes faults and then gives a harmless value of the right type.

    Parameters
    ----------
    values
        The table as parsed.
    path
        Its TOML path; empty for the document itself.
    faults
        Where faults are noted; shared by all readers of a document.
    """

    def __init__(self, values: Mapping[str, object], path: str, faults: Faults) -> None:
        self.values = values
        self.path = path
        self.faults = faults

    def path_of(self, key: str) -> str:
        """TOML path of a key of this table."""
        return join_path(self.path, key)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Note every key that nobody reads."""
        for key in self.values:
            if key not in known:
                self.faults.add(self.path_of(key), f"unknown key; {suggest(key, known)}")

    def get(self, key: str, needed: str) -> object | None:
        """Take a value of any type; a missing one is a fault that says what is needed."""
        value = self.values.get(key)
        if value is None:
            self.faults.add(self.path_of(key), f"missing; add {key}, {needed}")
        return value

    def table(self, key: str) -> TableReader:
        """Take a table; an empty one when there is none, which is a fault."""
        path = self.path_of(key)
        if key not in self.values:
            self.faults.add(path, f"missing; add the table [{path}]")
            return TableReader({}, path, self.faults)
        return TableReader(as_table(self.values[key], path, self.faults), path, self.faults)

    def text(self, key: str, *, is_blank_allowed: bool = False) -> str:
        """Take a text without control characters, not blank unless allowed."""
        value = self.get(key, "a text in quotes")
        if value is None:
            return ""
        return as_text(value, self.path_of(key), self.faults, is_blank_allowed=is_blank_allowed)

    def choice(self, key: str, allowed: Collection[str]) -> str | None:
        """Take one of several words; None after a fault."""
        value = self.get(key, f"one of {', '.join(map(show_value, sorted(allowed)))}")
        if value is None:
            return None
        if isinstance(value, str) and value in allowed:
            return value
        hint = suggest(value, allowed) if isinstance(value, str) else suggest("", allowed)
        self.faults.add(self.path_of(key), f"{show_value(value)} is not allowed here; {hint}")
        return None

    def number(self, key: str, bounds: Bounds) -> float:
        """Take an integer or float within bounds."""
        value = self.get(key, f"a number {bounds}")
        return 0.0 if value is None else check_number(value, bounds, self.path_of(key), self.faults)

    def integer(self, key: str, low: int, high: int) -> int:
        """Take an integer, both ends allowed."""
        value = self.get(key, f"a whole number from {low:,} to {high:,}")
        if value is None:
            return low
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            what = f"{show_value(value)} is not a whole number from {low:,} to {high:,}; write one"
            self.faults.add(self.path_of(key), what)
            return low
        return value

    def boolean(self, key: str) -> bool:
        """Take true or false."""
        value = self.get(key, "true or false")
        if value is not None and not isinstance(value, bool):
            what = f"{show_value(value)} is neither true nor false; write one of them, without quotes"
            self.faults.add(self.path_of(key), what)
        return value is True

    def duration_ms(self, key: str) -> int | None:
        """Take a duration in milliseconds; None after a fault."""
        value = self.get(key, 'a duration as "1d"')
        if value is None:
            return None
        if not isinstance(value, str):
            what = f'{show_value(value)} is not a duration; write a text as "90s", "5m", "1h", "7d" or "2w", in quotes'
            self.faults.add(self.path_of(key), what)
            return None
        try:
            return parse_duration_ms(value)
        except SettingsError as error:
            self.faults.add(self.path_of(key), str(error))
            return None

    def array(self, key: str, count_max: int) -> Sequence[object]:
        """Take an array of at most so many values; empty after a fault."""
        value = self.get(key, "an array in brackets")
        return () if value is None else as_array(value, count_max, self.path_of(key), self.faults)


def as_table(value: object, path: str, faults: Faults) -> Mapping[str, object]:
    """Take a value as a table with text keys; an empty one after a fault."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    faults.add(path, f"{show_value(value)} is not a table; write it as [{path}] or in braces")
    return {}


def as_array(value: object, count_max: int, path: str, faults: Faults) -> Sequence[object]:
    """Take a value as an array of at most so many values; an empty one after a fault."""
    if not isinstance(value, (list, tuple)):
        faults.add(path, f"{show_value(value)} is not an array; write it in brackets, as [..., ...]")
        return ()
    if len(value) > count_max:
        faults.add(path, f"{len(value):,} values; at most {count_max:,} are allowed; remove some")
        return ()
    return value


def as_text(value: object, path: str, faults: Faults, *, is_blank_allowed: bool = False) -> str:
    """Take a value as a text without control characters, not blank unless allowed; an empty one after a fault."""
    if not isinstance(value, str):
        faults.add(path, f"{show_value(value)} is not a text; write it in quotes")
    elif not value.strip() and not is_blank_allowed:
        faults.add(path, f"{show_value(value)} is blank; write a text")
    elif len(value) > TEXT_LENGTH_MAX:
        faults.add(path, f"{len(value):,} characters; at most {TEXT_LENGTH_MAX:,} are allowed; write less")
    elif not is_clean(value):
        faults.add(path, f"{show_value(value)} has a control character; allowed are line feeds and tabs; remove it")
    else:
        return value
    return ""


def check_number(value: object, bounds: Bounds, path: str, faults: Faults) -> float:
    """Take a value as a number within bounds; 0.0 after a fault."""
    number = as_number(value)
    if number is None:
        what = f"{show_value(value)} is not a number; allowed are finite numbers {bounds}; write one, without quotes"
        faults.add(path, what)
        return 0.0
    if not bounds.hold(number):
        faults.add(path, f"{show_value(value)} is out of range; allowed are finite numbers {bounds}; write one")
        return 0.0
    return number


def read_increasing(values: Sequence[object], bounds: Bounds, path: str, faults: Faults) -> tuple[float, ...]:
    """Take values as numbers within bounds that increase strictly."""
    numbers = []
    for index, value in enumerate(values):
        place = f"{path}[{index}]"
        faults_before = len(faults)
        number = check_number(value, bounds, place, faults)
        previous = as_number(values[index - 1]) if index else None
        if previous is not None and number <= previous and len(faults) == faults_before:
            what = f"{show_value(value)} is not above the {show_value(values[index - 1])} before it"
            faults.add(place, f"{what}; these numbers increase strictly; put them in order")
        numbers.append(number)
    return tuple(numbers)
