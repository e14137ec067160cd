"""What the report shows: figures of the run, and customers whose histories are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_app.backtest.results import StatisticsResult
from stream_app.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class ExampleCustomer:
    """One customer whose history the report tells.

    Parameters
    ----------
    customer_id
        As in the log; shown, never interpreted.
    headline
        What the customer is an example of.
    purchases
        Time in milliseconds since 1970-01-01 UTC and gross amount in the reporting currency, in order of time.
    changes
        Segment changes as in `changes.jsonl`, in order of their sequence.
    """

    customer_id: str
    headline: str
    purchases: list[tuple[int, float]]
    changes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class DeadLetterSample:
    """One refused row.

    Parameters
    ----------
    source
        Where it stood, as `orders.csv, row 17`.
    reason
        Stable reason code.
    detail
        What was wrong, in words; may be empty.
    raw
        The row as it was; shown cut and never interpreted.
    """

    source: str
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """All that `write_report` needs.

    Parameters
    ----------
    policy
        The policy of the run.
    result
        What the statistics found.
    summary
        Content of `summary.json`.
    examples
        Customers whose histories are told.
    dead_letters
        A few of the refused rows; counts by reason are in the summary.
    """

    policy: Policy
    result: StatisticsResult
    summary: Mapping[str, Any]
    examples: list[ExampleCustomer] = field(default_factory=list)
    dead_letters: list[DeadLetterSample] = field(default_factory=list)
