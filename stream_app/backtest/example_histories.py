"""What the report tells of single customers and refused rows, fetched from the files of the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from stream_app.adapters.event_files import EventLog
from stream_app.backtest.report import DeadLetterSample, ExampleCustomer

DEAD_LETTER_SAMPLES_MAX: Final = 20
_RAW_SHOWN_MAX: Final = 300


def collect_examples(candidates: Sequence[tuple[str, str]], log: EventLog, changes: Path) -> list[ExampleCustomer]:
    """Fetch purchases and changes of the customers that the report tells of.

    Parameters
    ----------
    candidates
        Customer ids and headlines.
    log
        The replayed log.
    changes
        The complete `changes.jsonl`.

    Returns
    -------
    list[ExampleCustomer]
        In the order of the candidates.
    """
    wanted = {customer_id: headline for customer_id, headline in candidates}
    if not wanted:
        return []
    purchases = log.purchases_of(list(wanted))
    told = _changes_of(set(wanted), changes)
    return [
        ExampleCustomer(customer_id, headline, purchases.get(customer_id, []), told.get(customer_id, []))
        for customer_id, headline in wanted.items()
    ]


def _changes_of(customer_ids: set[str], path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the changes of a few customers; only lines in which an id stands are parsed."""
    marks = [b'"customer_id":' + orjson.dumps(customer_id) for customer_id in customer_ids]
    told: dict[str, list[dict[str, Any]]] = {}
    with path.open("rb") as file:
        for line in file:
            if any(mark in line for mark in marks):
                change = json.loads(line)
                if change["customer_id"] in customer_ids:
                    told.setdefault(change["customer_id"], []).append(change)
    return told


def sample_dead_letters(path: Path) -> list[DeadLetterSample]:
    """Read the first dead letters; none when there is no file."""
    if not path.exists():
        return []
    samples = []
    with path.open("rb") as file:
        for line, _ in zip(file, range(DEAD_LETTER_SAMPLES_MAX), strict=False):
            letter = json.loads(line)
            source = letter["source"]
            raw = letter.get("raw") or letter.get("raw_base64") or ""
            samples.append(
                DeadLetterSample(
                    source=f"{source['file']}, row {source['row']}",
                    reason=letter["reason"],
                    detail=letter["message"],
                    raw=raw[:_RAW_SHOWN_MAX],
                )
            )
    return samples
