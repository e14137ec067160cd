"""Who moved where: the matrix of changes, the matrix from first to last tier, and how steady it all was."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.report.colours import tier_colour
from stream_app.backtest.report.figure import empty, swatch
from stream_app.backtest.report.formats import percent, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.results import AxisResult
from stream_app.backtest.summary import plain

_TIERS_SIDE_BY_SIDE: Final = 4
"""With more tiers there is no room for two matrices side by side."""


def migration_section(axis: AxisResult) -> Markup:
    """Show all changes, and what became of customers from the first day to the last, side by side."""
    if not axis.change_count and not axis.first_ratings.any() and not axis.first_to_last.any():
        return empty("Who moved where", "Nobody has had a tier yet.")
    return tag(
        "div",
        _matrix(
            axis,
            "Every change",
            "Changes from the tier at the left to the tier above, with shares of the row. First ratings stand apart.",
            axis.migrations,
            is_diagonal_shown=False,
        ),
        _matrix(
            axis,
            "From first to last",
            "Customers by the tier they had first and the tier they have at the end, and their share of the row.",
            axis.first_to_last,
            is_diagonal_shown=True,
        ),
        class_="pair" if len(axis.tiers) <= _TIERS_SIDE_BY_SIDE else "pair wide",
    )


def steadiness(axis: AxisResult) -> Markup:
    """Show how many changes were undone soon, and how many the confirmation held back."""
    title = "How steady the tiers are"
    if axis.flap_ratio is None:
        return empty(title, "Without a change of tier there is nothing to undo.")
    kept = 1 - axis.flap_ratio
    bar = tag(
        "div",
        tag("span", class_="kept", style=f"width:{100 * kept:.2f}%"),
        tag("span", class_="flap", style=f"width:{100 * axis.flap_ratio:.2f}%"),
        class_="gauge",
        role="img",
        aria_label=f"{percent(axis.flap_ratio)} of {whole(axis.change_count)} changes were undone within 28 days",
    )
    per_year = axis.changes_per_customer_year
    facts = [
        (whole(axis.change_count), "changes of tier"),
        (whole(axis.flap_count), "undone within 28 days"),
        (whole(axis.suppressed_count), "candidates given up before they were confirmed"),
        ("\u2013" if per_year is None else plain(per_year), "changes a rated customer and year"),
    ]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", f"{percent(axis.flap_ratio)} of changes were undone within 28 days"),
            tag(
                "p",
                "A change is undone when the customer is back in the old tier, or beyond it, within 28 days. The fewer "
                "there are, the more a change means.",
            ),
        ),
        bar,
        tag("dl", *(tag("div", tag("dt", label), tag("dd", value)) for value, label in facts), class_="facts"),
        class_="chart",
    )


def _matrix(
    axis: AxisResult, title: str, description: str, counts: NDArray[np.int64], *, is_diagonal_shown: bool
) -> Markup:
    heads = [tag("th", join(swatch(tier_colour(tier)), name), scope="col") for tier, name in enumerate(axis.tiers)]
    rows = []
    for source, name in enumerate(axis.tiers):
        whole_row = int(counts[source].sum())
        cells = []
        for target in range(len(axis.tiers)):
            if source == target and not is_diagonal_shown:
                cells.append(tag("td", "\u00b7", class_="none"))
            else:
                cells.append(_cell(int(counts[source, target]), whole_row))
        head = tag("th", join(swatch(tier_colour(source)), name), scope="row")
        rows.append(tag("tr", head, *cells, tag("td", whole(whole_row), class_="sum")))
    if not is_diagonal_shown:
        firsts = [tag("td", whole(count), class_="first") for count in axis.first_ratings.tolist()]
        total = tag("td", whole(int(axis.first_ratings.sum())), class_="sum")
        rows.append(tag("tr", tag("th", "first rated", scope="row"), *firsts, total, class_="first"))
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th", "from \u2192 to", scope="col"), *heads, tag("th", "all", scope="col"))),
        tag("tbody", *rows),
        class_="matrix",
    )
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("p", description)),
        tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=title),
        class_="chart",
    )


def _cell(count: int, whole_row: int) -> Markup:
    share = count / whole_row if whole_row else 0.0
    shown = tag("small", percent(share)) if whole_row else None
    return tag("td", tag("b", whole(count)), shown, style=f"--heat:{100 * share:.0f}%")
