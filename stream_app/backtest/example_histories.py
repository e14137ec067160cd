"""What the report tells of single customers and refused rows, fetched from the files of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stream_app.backtest.outputs import ChangesFile
from stream_app.backtest.replayable_log import ReplayableLog
from stream_app.backtest.report import DeadLetterSample, ExampleCustomer

DEAD_LETTER_SAMPLES_MAX: Final = 20
_RAW_SHOWN_MAX: Final = 300


def collect_examples(
    candidates: Sequence[tuple[str, str]], log: ReplayableLog, changes: ChangesFile
) -> list[ExampleCustomer]:
    """Fetch purchases and changes of the customers that the report tells of.

    Parameters
    ----------
    candidates
        Customer ids and headlines.
    log
        The replayed log.
    changes
        The finished `changes.jsonl`.

    Returns
    -------
    list[ExampleCustomer]
        In the order of the candidates.
    """
    headlines = dict(candidates)
    if not headlines:
        return []
    purchases = log.purchases_of(list(headlines))
    told = changes.changes_of(list(headlines))
    return [
        ExampleCustomer(customer_id, headline, purchases.get(customer_id, []), told[customer_id])
        for customer_id, headline in headlines.items()
    ]


def sample_dead_letters(path: Path) -> list[DeadLetterSample]:
    """Read the first dead letters; none when there is no file."""
    if not path.exists():
        return []
    samples = []
    with path.open("rb") as file:
        for line, _ in zip(file, range(DEAD_LETTER_SAMPLES_MAX), strict=False):
            letter = json.loads(line)
            raw = letter.get("raw") or letter.get("raw_base64") or ""
            samples.append(
                DeadLetterSample(
                    source=_place(letter["source"]),
                    reason=letter["reason"],
                    detail=letter["message"],
                    raw=raw[:_RAW_SHOWN_MAX],
                )
            )
    return samples


def _place(source: Mapping[str, Any]) -> str:
    if "file" in source:
        return f"{source['file']}, row {source['row']}"
    return f"{source['topic']}-{source['partition']}, offset {source['offset']}"
