"""The parts of the page that are words and tables: header, refused input, how to read it, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_app.backtest.report.data import ReportData
from stream_app.backtest.report.figure import Column, DataTable, data_table
from stream_app.backtest.report.formats import compact, date, parse_time_ms, percent, whole
from stream_app.backtest.report.markup import Markup, join, tag
from stream_app.backtest.summary import five_numbers
from stream_app.domain.policy import Policy

_RAW_CHARACTERS_MAX = 300
_READING = (
    (
        "Tier and segment",
        "A tier is an ordered class on one axis; a customer's segment is the tier on every axis. A prospect has bought "
        "nothing yet; a buyer is unrated as long as there are too few buyers to draw cut points.",
    ),
    (
        "Score and cut points",
        "Every customer is scored by behaviour alone, at each event and, when nothing happens, at least once a sweep. "
        "Cut points are renewed once a day from all scores, so a tier keeps its share of customers.",
    ),
    (
        "Hysteresis",
        "To rise, a score must pass the cut point by a margin; to fall, it must drop below it by one. In between, the "
        "held tier stays.",
    ),
    (
        "Cause",
        "By an event: what the customer did. By time alone: nothing happened, and old purchases faded. By a moved cut "
        "point: others changed, not this customer.",
    ),
    (
        "Flap",
        "A change after which the customer is back in the old tier, or beyond it, within 28 days.",
    ),
    (
        "Prediction and outcome",
        "What a customer was expected to do, kept when it was said, and what came. Log loss is how surprised a "
        "forecast is by what came; an alarm is raised when it has risen for good.",
    ),
    (
        "nGini, cap20, AUC",
        "How well a ranking orders customers by what they did next: 0, 20 % and 0.5 for drawing lots, 1 at best; what "
        "can be reached depends on how much of what customers do is chance.",
    ),
    (
        "Revenue held",
        "Gross purchases, each counted for what the customer was just before it. Refunds are not subtracted.",
    ),
)


def header(data: ReportData) -> Markup:
    """Say what was segmented, the numbers that tell the most, and what to bear in mind."""
    summary = data.summary
    span, customers = summary["time_span"], summary["customers"]
    parts = [f"{whole(summary['events']['applied'])} events of {whole(customers['total'])} customers"]
    first_ms, last_ms = parse_time_ms(span["first_event"]), parse_time_ms(span["last_event"])
    if first_ms is not None and last_ms is not None:
        parts.append(f"{date(first_ms)} to {date(last_ms)}")
    output_from_ms = parse_time_ms(span["output_from"])
    if output_from_ms is not None:
        parts.append(f"shown from {date(output_from_ms)}")
    tiles = [tag("div", tag("dt", label), tag("dd", _tile_value(value))) for label, value in five_numbers(summary)]
    notes = [tag("li", note) for note in summary["notes"]]
    return tag(
        "header",
        tag("p", "Backtest of customer segments", class_="kicker"),
        tag("h1", f"What policy \u201c{data.policy.name}\u201d would have made of these customers"),
        tag("p", " \u00b7 ".join(parts), class_="lead"),
        tag("dl", *tiles, class_="tiles"),
        tag("aside", tag("h2", "Bear in mind"), tag("ul", *notes), class_="notes") if notes else None,
    )


def _tile_value(value: str) -> Markup:
    """Set the leading number apart from the words that follow it."""
    if not value[:1].isdigit():
        return tag("span", value)
    places = [place for separator in (" of ", " by ", ", ") if (place := value.find(separator)) > 0]
    end = min(places, default=len(value))
    return join(tag("b", value[:end]), " ", tag("span", value[end:].strip(" ,")))


def accounting(data: ReportData) -> Markup:
    """Show where every row went, and what was refused and why."""
    rows = data.summary["rows"]
    parts = [
        ("applied", rows["applied"], "good"),
        ("duplicates", rows["duplicates"], "quiet"),
        ("ignored", sum(rows["ignored"].values()), "quiet"),
        ("refused", sum(rows["dead_letters"].values()), "bad"),
    ]
    read = max(rows["read"], 1)
    bar = [tag("span", class_=kind, style=f"flex-grow:{count / read:.6f}") for _, count, kind in parts if count]
    return tag(
        "section",
        tag("h2", "Where every row went"),
        tag("div", *bar, class_="rows-bar", aria_hidden="true"),
        tag("p", rows["equation"], class_="equation"),
        _reasons("Refused, by reason", "dead_letters.jsonl has each of them.", rows["dead_letters"]),
        _samples(data),
        _reasons("Ignored on purpose", "Rows that the policy or the chosen span leaves out.", rows["ignored"]),
        class_="card",
        id="rows",
    )


def _reasons(title: str, description: str, counts: Mapping[str, int]) -> Markup | None:
    if not counts:
        return tag("p", "Nothing was refused.", class_="empty") if title.startswith("Refused") else None
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    whole_count = sum(counts.values())
    table = DataTable(
        [Column("Reason"), Column("rows"), Column("share")],
        [(None, [reason, whole(count), percent(count / max(whole_count, 1))]) for reason, count in ordered],
    )
    return tag("div", tag("h3", title), tag("p", description), data_table(table))


def _samples(data: ReportData) -> Markup | None:
    if not data.dead_letters:
        return None
    items = []
    for sample in data.dead_letters:
        raw = sample.raw if len(sample.raw) <= _RAW_CHARACTERS_MAX else sample.raw[:_RAW_CHARACTERS_MAX] + "\u2026"
        about = f"{sample.source}: {sample.reason}" + (f", {sample.detail}" if sample.detail else "")
        items.append(tag("li", tag("p", about), tag("pre", tag("bdi", raw))))
    return tag(
        "details",
        tag("summary", "1 refused row" if len(items) == 1 else f"{len(items)} of the refused rows"),
        tag("ul", *items, class_="samples"),
    )


def how_to_read(policy: Policy) -> Markup:
    """Explain the words of the report, and what the policy says."""
    words = [tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in _READING]
    treatments = DataTable(
        [Column("Segment"), Column("channel"), Column("action")],
        [
            (None, [" \u00b7 ".join(pattern), treatment.channel, treatment.action])
            for pattern, treatment in policy.treatment_rules
        ],
    )
    return tag(
        "section",
        tag("h2", "How to read it"),
        tag("dl", *words, class_="words"),
        tag("h3", "What the policy does with each segment"),
        tag("p", f"Objective: {policy.objective}") if policy.objective else None,
        tag("p", f"Owner: {policy.owner}") if policy.owner else None,
        tag("p", "The first row that fits holds."),
        data_table(treatments),
        class_="card",
        id="reading",
    )


def provenance(summary: Mapping[str, Any]) -> Markup:
    """Name versions, files, settings and durations: what is needed to make this page again."""
    versions, rates = summary["versions"], summary["rates"]
    rows: list[tuple[str, str]] = [
        ("Software", f"stream-app {versions['stream_app']}"),
        ("Policy", f"{versions['policy_name']}, {versions['policy_hash']}"),
        ("Knowledge", f"version {versions['knowledge']}, {versions['knowledge_hash']}"),
        ("Python and numpy", f"{versions['python']} and {versions['numpy']}"),
        ("Files", ", ".join(summary["sources"]) or "none"),
    ]
    rows += [(name.replace("_", " ").capitalize(), str(value)) for name, value in summary["settings"].items()]
    for key, words in (
        ("events_per_second", "events applied a second"),
        ("rescores_per_second", "re-scores of ticks a second"),
        ("rows_per_second", "rows a second from start to end"),
    ):
        if rates[key] is not None:
            rows.append(("Speed", f"{compact(rates[key])} {words}"))
    durations = [f"{name} {seconds:.1f} s" for name, seconds in summary["duration_seconds"].items()]
    rows.append(("Duration", ", ".join(durations)))
    table = DataTable([Column("What"), Column("value")], [(None, list(row)) for row in rows])
    return tag(
        "section",
        tag("h2", "Versions and provenance"),
        tag("div", data_table(table), class_="provenance"),
        class_="card",
        id="provenance",
    )
