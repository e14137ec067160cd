"""What a comparison found out, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stream_app.backtest.comparison.crossing import Crossing, DifferingCustomer
from stream_app.backtest.comparison.policies import ComparedPolicy, Difference
from stream_app.backtest.comparison.watch import HUMAN, Watched, rule_of
from stream_app.backtest.results import AxisResult, StatisticsResult
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import AxisPolicy, Policy, Treatment


@dataclass(frozen=True, slots=True)
class TreatmentLoad:
    """How many customers one treatment has.

    Parameters
    ----------
    pattern
        The segments it is for.
    treatment
        Channel and action.
    customers_end
        At the end.
    customers_mean
        Mean over the marks; None without marks.
    """

    pattern: tuple[str, ...]
    treatment: Treatment
    customers_end: int
    customers_mean: float | None

    @property
    def is_human(self) -> bool:
        """Whether people attend to these customers."""
        return self.treatment.channel == HUMAN


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One policy and what it made of the log.

    Parameters
    ----------
    compared
        The policy.
    summary
        Content of its `summary.json`.
    statistics
        The figures behind its report.
    watched
        What was watched for the comparison alone.
    """

    compared: ComparedPolicy
    summary: Mapping[str, Any]
    statistics: StatisticsResult
    watched: Watched

    @property
    def name(self) -> str:
        """Short name of the policy."""
        return self.compared.name

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.compared.policy

    def axis_place(self, name: str) -> int | None:
        """Give the place of an axis in this policy, or None when it has no such axis."""
        names = self.policy.axis_names
        return names.index(name) if name in names else None

    def axis_result(self, name: str) -> AxisResult | None:
        """Give the figures of an axis, or None when the policy has no such axis."""
        place = self.axis_place(name)
        return None if place is None else self.statistics.axes[place]

    def axis_policy(self, name: str) -> AxisPolicy | None:
        """Give what the policy says of an axis, or None."""
        place = self.axis_place(name)
        return None if place is None else self.policy.axes[place]

    @property
    def days(self) -> int:
        """Days that are told."""
        return len(self.statistics.population_times_ms)

    @cached_property
    def treatments(self) -> tuple[TreatmentLoad, ...]:
        """Customers of each treatment, in the order of the policy's rules."""
        at_end = dict.fromkeys(range(len(self.policy.treatment_rules)), 0)
        for segment, count in self.statistics.segment_matrix.items():
            at_end[rule_of(self.policy, segment)] += count
        marks = self.watched.workload.mark_counts
        return tuple(
            TreatmentLoad(
                pattern,
                treatment,
                at_end[place],
                sum(counts.get(place, 0) for counts in marks) / len(marks) if marks else None,
            )
            for place, (pattern, treatment) in enumerate(self.policy.treatment_rules)
        )

    @property
    def human_end(self) -> int:
        """Customers whom people attend to at the end."""
        return sum(load.customers_end for load in self.treatments if load.is_human)

    @property
    def human_mean(self) -> float | None:
        """Customers whom people attend to, mean over the marks; None without marks."""
        means = [load.customers_mean for load in self.treatments if load.is_human]
        return sum(mean or 0.0 for mean in means) if self.watched.workload.mark_counts else None

    @property
    def human_at_marks(self) -> list[tuple[int, int]]:
        """Time of each mark, and the customers whom people attend to at it."""
        places = [place for place, load in enumerate(self.treatments) if load.is_human]
        workload = self.watched.workload
        return [
            (time_ms, sum(counts.get(place, 0) for place in places))
            for time_ms, counts in zip(workload.mark_times_ms, workload.mark_counts, strict=True)
        ]

    @property
    def handover_count(self) -> int:
        """Times that a change of segment handed a customer over to people."""
        return sum(to_human for to_human, _ in self.watched.workload.handovers_by_day.values())

    @property
    def hand_back_count(self) -> int:
        """Times that a change of segment took a customer back from people."""
        return sum(back for _, back in self.watched.workload.handovers_by_day.values())

    @property
    def busiest_day(self) -> tuple[int, int] | None:
        """Time of the day with most handovers to people, the earliest of equals, and how many; None without any."""
        days = self.watched.workload.handovers_by_day
        day = min(days, key=lambda each: (-days[each][0], each), default=None)
        return None if day is None or not days[day][0] else (day * MS_PER_DAY, days[day][0])


@dataclass(frozen=True, slots=True, eq=False)
class ExampleView:
    """One customer under one policy.

    Parameters
    ----------
    row
        Columns of `segments.parquet`; empty when the policy ignores all of the customer's events.
    changes
        As in `changes.jsonl`, in order of their sequence; only the last of very many.
    """

    row: Mapping[str, Any]
    changes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A customer whose tier differs, and what each of the two policies says."""

    who: DifferingCustomer
    first: ExampleView
    second: ExampleView


@dataclass(frozen=True, slots=True, eq=False)
class PolicyPair:
    """The first policy of the comparison and one of the others.

    Parameters
    ----------
    first, second
        The runs.
    crossings
        One for each axis that both have, in the order of the first.
    differing
        For each crossing, one customer for each pair of different tiers.
    examples
        Customers that are told of.
    """

    first: ComparedRun
    second: ComparedRun
    crossings: tuple[Crossing, ...]
    differing: tuple[tuple[DifferingCustomer, ...], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonResult:
    """Everything that a comparison found out.

    Parameters
    ----------
    runs
        In the order in which the policies were given; the others are held against the first.
    differences
        Settings in which they differ.
    pairs
        The first with each of the others.
    notes
        What a reader could otherwise misread.
    """

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[PolicyPair, ...]
    notes: tuple[str, ...]

    @property
    def axis_names(self) -> list[str]:
        """Axes of all policies, those of the first one first."""
        return list(dict.fromkeys(name for run in self.runs for name in run.policy.axis_names))
