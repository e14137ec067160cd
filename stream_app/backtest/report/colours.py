"""Colours of tiers, states and causes, in light and dark, as CSS variables for any number of tiers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stream_app.backtest.results import STATE_COUNT

_Colour = tuple[int, int, int]

# Low tiers go from pale to strong blue, the top tier is amber: told apart with any kind of colour vision.
_LOW_LIGHT: Final[_Colour] = (176, 194, 213)
_HIGH_LIGHT: Final[_Colour] = (58, 116, 178)
_TOP_LIGHT: Final[_Colour] = (222, 136, 30)
_LOW_DARK: Final[_Colour] = (72, 90, 112)
_HIGH_DARK: Final[_Colour] = (94, 152, 214)
_TOP_DARK: Final[_Colour] = (240, 173, 78)


def state_colour(state: int) -> str:
    """Name the colour of a state by its column: prospect, unrated, then the tiers."""
    names = ("prospect", "unrated")
    return names[state] if state < STATE_COUNT else tier_colour(state - STATE_COUNT)


def tier_colour(tier: int) -> str:
    """Name the colour of a tier; what it looks like depends on the class `tiers-<n>` around it."""
    return f"tier-{tier}"


def fill(colour: str) -> str:
    """Give the style that fills with a named colour."""
    return f"fill:var(--{colour})"


def tier_styles(tier_counts: Iterable[int]) -> str:
    """Write the CSS that defines the tier colours for axes of these numbers of tiers."""
    light, dark = [], []
    for count in sorted(set(tier_counts)):
        light.append(_variables(count, _LOW_LIGHT, _HIGH_LIGHT, _TOP_LIGHT))
        dark.append(_variables(count, _LOW_DARK, _HIGH_DARK, _TOP_DARK))
    # Paper is white, whatever the screen is.
    return "".join(light) + "@media screen and (prefers-color-scheme:dark){" + "".join(dark) + "}"


def _variables(count: int, low: _Colour, high: _Colour, top: _Colour) -> str:
    steps = max(count - 2, 1)
    colours = [_mixed(low, high, tier / steps) for tier in range(count - 1)]
    if count == 2:
        colours = [_mixed(low, high, 0.4)]
    named = ";".join(f"--tier-{tier}:rgb{colour}" for tier, colour in enumerate([*colours, top]))
    return f".tiers-{count}{{{named}}}"


def _mixed(low: _Colour, high: _Colour, share: float) -> _Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue
