"""The run's predictions beside yardsticks: figures as a table, over time, and by tenths of the customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stream_app.backtest.report.figure import Column, DataTable, Plot, data_table, figure, path_of, rectangle
from stream_app.backtest.report.formats import date, nice_marks, parse_time_ms, percent, whole
from stream_app.backtest.report.lines_chart import DASHES, Series, TimeScale, Words, lines_chart
from stream_app.backtest.report.markup import Markup, join, tag

OWN: Final = "scores"
_OWN_LABEL: Final = "this run"
_FIGURES: Final = (
    ("normalized_gini", "spend ranked (nGini)"),
    ("cap20", "spend held by the top 20 % (cap20)"),
    ("hit20", "top fifth found (hit20)"),
    ("buy_auc", "who buys (AUC)"),
    ("growth_auc", "who grows (AUC)"),
    ("growth_auc_active", "who grows, of those active"),
)
_DRAWN_BY_LOT: Final = ("0.000", "0.200", "0.200", "0.500", "0.500", "0.500")
_MISSING: Final = "\u2013"


def method_label(methods: Mapping[str, Any], name: str) -> str:
    """Name a method as the report does."""
    if name == OWN:
        return _OWN_LABEL
    return str(methods["labels"][name]).replace("last-H", f"last {methods['horizon_days']} days'")


def method_table(methods: Mapping[str, Any]) -> Markup:
    """Show the mean figures of every method, the best of each column in bold."""
    means = methods["means"]
    best = {figure: _best(means, figure) for figure, _ in _FIGURES}
    columns = [Column("Ranked by"), *(Column(label) for _, label in _FIGURES), Column("this run ahead: spend, growth")]
    rows: list[tuple[float | None, list[str]]] = []
    for name, figures in means.items():
        cells = [_figure_cell(figures[key], best[key]) for key, _ in _FIGURES]
        head = method_label(methods, name)
        rows.append((None, [tag("b", head) if name == OWN else head, *cells, _lead(methods, name)]))
    rows.append((None, ["drawing lots", *_DRAWN_BY_LOT, _MISSING]))
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", _finding(methods)),
            tag("p", _how(methods)),
            tag(
                "p",
                "nGini is the area that the ranking wins over drawing lots, by that of a perfect ranking. cap20 is "
                "the share of all spend that came from the 20 % ranked highest; hit20 the share of the true top fifth "
                "among them. AUC is how often who buys, or who spends more than before, ranks above who does not. The "
                "best of each column is bold; the last one counts the cutoffs at which this run was ahead.",
            ),
        ),
        tag("div", data_table(DataTable(columns, rows)), class_="methods"),
        *(tag("p", note, class_="aside") for note in [*_held(methods), *methods["notes"]]),
        class_="chart",
    )


def methods_over_time(methods: Mapping[str, Any], figure_name: str, title: str, description: str) -> Markup | None:
    """Draw one figure of every method, cutoff by cutoff; None when fewer than two cutoffs have it."""
    cutoffs = [
        cutoff
        for cutoff in methods["cutoffs"]
        if cutoff["methods"][OWN][figure_name] is not None and parse_time_ms(cutoff["cutoff"]) is not None
    ]
    if len(cutoffs) < 2:
        return None
    series = []
    for name in methods["means"]:
        values = [cutoff["methods"][name][figure_name] for cutoff in cutoffs]
        if any(value is not None for value in values):
            series.append(Series(method_label(methods, name), method_colour(name), values, is_yardstick=name != OWN))
    counts = [whole(cutoff["customer_count"]) for cutoff in cutoffs]
    return lines_chart(
        Words(title, description, "One row for each cutoff"),
        TimeScale([parse_time_ms(cutoff["cutoff"]) or 0 for cutoff in cutoffs], row_name="Cutoff"),
        series,
        [(Column("customers"), counts)],
    )


def spend_lift(methods: Mapping[str, Any]) -> Markup | None:
    """Draw what share of spend each tenth of the ranking held; None when nothing was spent."""
    shares = methods["spend_share_by_tenth"]
    if OWN not in shares:
        return None
    top = shares[OWN][0]
    return _tenths(
        methods,
        shares,
        Words(
            f"The tenth ranked highest spent {percent(top)} of all that was spent next",
            f"Share of the spend of the {methods['horizon_days']} days after each cutoff, by tenths of the customers "
            "as the value score ranked them before, highest first; mean over the cutoffs. Dashed are the same tenths "
            "by each yardstick; the level line is what drawing lots would give.",
            "One row for each tenth of the customers",
        ),
        0.1,
    )


def growth_lift(methods: Mapping[str, Any]) -> Markup | None:
    """Draw how much likelier each tenth of the growth ranking was to grow; None when nobody could."""
    lifts = methods["growth_lift_by_tenth"]
    if OWN not in lifts:
        return None
    return _tenths(
        methods,
        lifts,
        Words(
            f"The tenth ranked highest for growth grew {lifts[OWN][0]:.1f} times as often as all",
            "Share of customers who spent more in the horizon after the cutoff than in the one before, over the share "
            "among all, by tenths of the growth ranking; mean over the cutoffs. At the level line, 1, a tenth is as "
            "all are. Yardsticks are dashed.",
            "One row for each tenth of the customers",
        ),
        1.0,
    )


def method_colour(name: str) -> str:
    """Name a method's colour."""
    return f"method-{name.replace('_', '-')}"


def _tenths(methods: Mapping[str, Any], by_method: Mapping[str, list[float]], words: Words, by_lot: float) -> Markup:
    is_share = by_lot < 1.0
    highest = max(value for tenths in by_method.values() for value in tenths)
    marks = nice_marks(highest, 4)
    scale = 100 / marks[-1]
    parts = []
    for place, value in enumerate(by_method[OWN]):
        height = scale * value
        parts.append(rectangle(10 * place + 1, 100 - height, 8, height, f"fill:var(--{method_colour(OWN)});opacity:.5"))
    for name, tenths in by_method.items():
        if name != OWN:
            points = [(10 * place + 5.0, 100 - scale * value) for place, value in enumerate(tenths)]
            style = f"stroke:var(--{method_colour(name)});{DASHES}"
            parts.append(tag("path", d=path_of(points), class_="line", style=style))
    y = f"{100 - scale * by_lot:.2f}"
    parts.append(tag("line", x1="0", x2="100", y1=y, y2=y, class_="zero"))
    write = percent if is_share else "{:.2f}".format
    columns = [Column("Tenth"), *(Column(method_label(methods, name), method_colour(name)) for name in by_method)]
    rows = [
        ((place + 0.5) / 10, [_tenth_name(place), *(write(tenths[place]) for tenths in by_method.values())])
        for place in range(10)
    ]
    return figure(
        words.title,
        words.description,
        Plot(
            join(*parts),
            240,
            [((place + 0.5) / 10, str(place + 1)) for place in range(10)],
            [(mark / marks[-1], percent(mark) if is_share else f"{mark:.4g}") for mark in marks[1:]],
        ),
        DataTable(columns, rows, words.caption),
    )


def _tenth_name(place: int) -> str:
    return {0: "1 (highest)", 9: "10 (lowest)"}.get(place, str(place + 1))


def _best(means: Mapping[str, Mapping[str, float | None]], figure: str) -> str | None:
    known = [value for figures in means.values() if (value := figures[figure]) is not None]
    return f"{max(known):.3f}" if known else None


def _figure_cell(value: float | None, best: str | None) -> str:
    if value is None:
        return _MISSING
    written = f"{value:.3f}"
    return tag("b", written) if written == best else written


def _lead(methods: Mapping[str, Any], name: str) -> str:
    if name == OWN:
        return _MISSING
    leads = [methods["leads"][name][figure] for figure in ("normalized_gini", "growth_auc")]
    return ", ".join(f"{ahead} of {count}" if count else _MISSING for ahead, count in leads)


def _finding(methods: Mapping[str, Any]) -> str:
    means = methods["means"]
    own = means[OWN]["normalized_gini"]
    others = {name: figures["normalized_gini"] for name, figures in means.items() if name != OWN}
    known = {name: value for name, value in others.items() if value is not None}
    if own is None or not known:
        return "Beside what every analyst has"
    name = max(known, key=lambda each: known[each])
    word = "ahead of" if own > known[name] + 0.0005 else "behind" if own < known[name] - 0.0005 else "level with"
    return f"Ranking spend: {own:.3f}, {word} the best yardstick, {method_label(methods, name)} ({known[name]:.3f})"


def _held(methods: Mapping[str, Any]) -> list[str]:
    """Say what it costs that tiers are held on to."""
    held, own = methods["held_cap20"], methods["means"][OWN]["cap20"]
    if held is None or own is None:
        return []
    return [
        f"The top 20 % by the value tier held, and within it by score, held {held:.3f} of the spend, by score alone "
        f"{own:.3f}: the difference is the price of steady tiers."
    ]


def _how(methods: Mapping[str, Any]) -> str:
    cutoffs, count = methods["cutoffs"], methods["customers"]
    first_ms, last_ms = parse_time_ms(cutoffs[0]["cutoff"]) or 0, parse_time_ms(cutoffs[-1]["cutoff"]) or 0
    share = methods["sample_share"]
    who = f"all {whole(count)} buyers" if share == 1.0 else f"{whole(count)} buyers drawn by the hash of their id"
    return (
        f"Means over {len(cutoffs)} cutoffs from {date(first_ms)} to {date(last_ms)}, of {who}. At each cutoff every "
        f"method ranks the same customers from what lies before it, and is held against the {methods['horizon_days']} "
        "days that follow."
    )
