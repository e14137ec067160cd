"""Small event logs for tests: written to files, opened, and told as plain lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from stream_app.adapters.event_files import EventLog, EventLogOptions, ReadCounts, open_event_log
from stream_app.domain.events import Family
from stream_app.domain.policy import EventRule, Policy
from tests.factories import make_policy

RUN_STARTED_MS = 1_750_000_000_000
"""15 June 2025."""


def make_rules_policy(**overrides: Any) -> Policy:
    """Make a policy with a rule of every kind."""
    rules = {
        "purchase": EventRule(Family.PURCHASE, amount_path=("amount",)),
        "refund": EventRule(Family.REFUND, amount_path=("amount",)),
        "browse": EventRule(Family.BROWSE),
        "watch": EventRule(Family.CONTENT, fixed_value=0.5),
        "rating": EventRule(Family.FEEDBACK, satisfaction_path=("properties", "rating"), satisfaction_range=(1.0, 5.0)),
        "Order Completed": EventRule(Family.PURCHASE, amount_path=("properties", "revenue")),
    }
    fields: dict[str, Any] = {
        "event_rules": rules,
        "reporting_currency": "EUR",
        "currency_rates": {"EUR": 1.0, "USD": 0.5},
        "amount_max": 1e6,
    }
    return make_policy(**(fields | overrides))


@dataclass(frozen=True)
class Event:
    """One replayed event, in plain types."""

    customer_id: str
    event_id: str
    time_ms: int
    family: Family
    amount: float
    satisfaction: float | None
    source: tuple[str, int]
    row_count: int


@dataclass(frozen=True)
class Outcome:
    """All that one opened log had to tell."""

    events: list[Event]
    counts: ReadCounts
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    has_event_ids: bool = False
    has_types: bool = False


def open_log(paths: Sequence[Path | str] | Path, policy: Policy | None = None, **options: Any) -> EventLog:
    """Open a log with the options that a test speaks of."""
    names = [paths] if isinstance(paths, Path) else paths
    options.setdefault("run_started_ms", RUN_STARTED_MS)
    return open_event_log([str(name) for name in names], policy or make_rules_policy(), EventLogOptions(**options))


def read_log(paths: Sequence[Path | str] | Path, policy: Policy | None = None, **options: Any) -> Outcome:
    """Open a log, read it to its end, and close it."""
    first = paths if isinstance(paths, Path) else Path(paths[0])
    letters_path = options.setdefault("dead_letters_path", first.parent / "dead_letters.jsonl")
    with open_log(paths, policy, **options) as log:
        events = list(events_of(log))
        outcome = Outcome(events, log.counts, [], log.has_event_ids, log.has_types)
    hold_rows_add_up(outcome.counts)
    if letters_path is not None:
        outcome.dead_letters.extend(json.loads(line) for line in letters_path.read_bytes().splitlines())
        assert len(outcome.dead_letters) == sum(outcome.counts.rows_dead_letter.values())
    return outcome


def events_of(log: EventLog, events_max: int = 3) -> list[Event]:
    """Tell the events of a log."""
    events = []
    for batch in log.batches(events_max=events_max):
        assert len(batch) <= events_max
        rows = log.rows_of(batch.positions).tolist()
        for i in range(len(batch)):
            source = log.source_of(int(batch.positions[i]))
            satisfaction = float(batch.satisfactions[i])
            events.append(
                Event(
                    batch.customer_ids[i].decode(),
                    batch.event_ids[i],
                    int(batch.times_ms[i]),
                    Family(int(batch.families[i])),
                    float(batch.amounts[i]),
                    None if satisfaction != satisfaction else satisfaction,
                    (str(source["file"]), int(str(source["row"]))),
                    rows[i],
                )
            )
    return events


def hold_rows_add_up(counts: ReadCounts) -> None:
    """Hold a log to its promise that no row is dropped silently."""
    ignored, refused = sum(counts.rows_ignored.values()), sum(counts.rows_dead_letter.values())
    assert counts.rows_read == counts.rows_accepted + ignored + refused
    assert counts.event_count == counts.rows_accepted - counts.rows_merged


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, compressed as its name says."""
    data = content.encode() if isinstance(content, str) else content
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    if compression is None:
        path.write_bytes(data)
    else:
        with pa.CompressedOutputStream(str(path), compression) as stream:
            stream.write(data)
    return path
