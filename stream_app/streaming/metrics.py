"""What operators watch in Prometheus: counted once a commit, never once an event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from stream_app.domain.events import MS_PER_SECOND
from stream_app.domain.policy import Policy
from stream_app.domain.rating import rated, states_of
from stream_app.engine import Engine
from stream_app.streaming.reports import BatchReport, ShardStanding

_BATCH_RECORDS = (1, 10, 50, 100, 250, 500, 1000, 2000, 4000, 8192)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counts what shards report. One for each process; labels are bounded and never hold a customer.

    Parameters
    ----------
    registry
        Where metrics are found by whoever serves them.
    clock_ms
        Wall clock, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, registry: CollectorRegistry, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._events = Counter(
            "segmentation_events_total", "Events by family and outcome.", ("family", "outcome"), registry=registry
        )
        self._dead_letters = Counter(
            "segmentation_dead_letters_total", "Refused records by reason.", ("reason",), registry=registry
        )
        self._changes = Counter(
            "segmentation_segment_changes_total",
            "Segment changes that were published.",
            ("axis", "from_tier", "to_tier", "cause"),
            registry=registry,
        )
        self._suppressed = Counter(
            "segmentation_suppressed_changes_total",
            "Candidates given up before they were confirmed.",
            ("axis",),
            registry=registry,
        )
        self._rescores = Counter("segmentation_rescores_total", "Times a customer was scored.", registry=registry)
        self._commits = Counter("segmentation_commits_total", "Commits of shards.", registry=registry)
        self._bytes = Counter(
            "segmentation_committed_bytes_total",
            "Bytes of events read and of records written.",
            ("way",),
            registry=registry,
        )
        self._batch = Histogram(
            "segmentation_batch_records", "Event records in a commit.", buckets=_BATCH_RECORDS, registry=registry
        )
        self._stages = Histogram(
            "segmentation_stage_duration_seconds",
            "Time that a commit spent in each stage.",
            ("stage",),
            buckets=_STAGE_SECONDS,
            registry=registry,
        )
        self._recovery = Gauge(
            "segmentation_recovery_duration_seconds", "Time the last recovery took.", ("partition",), registry=registry
        )
        self._recovered = Gauge(
            "segmentation_recovered_customers",
            "Customers that the last recovery read.",
            ("partition",),
            registry=registry,
        )
        self._failures = Counter(
            "segmentation_shard_failures_total",
            "Times a shard began anew after an error of the log.",
            ("partition", "reason"),
            registry=registry,
        )
        self._version = Gauge(
            "segmentation_knowledge_version_count", "Version of knowledge in force.", ("partition",), registry=registry
        )
        self._lag = Gauge(
            "segmentation_lag_records", "Records of events not applied yet.", ("partition",), registry=registry
        )
        self._delay = Gauge(
            "segmentation_watermark_delay_seconds",
            "Wall clock less the latest event time.",
            ("partition",),
            registry=registry,
        )
        self._tick_delay = Gauge(
            "segmentation_tick_delay_seconds", "Wall clock less the last tick.", ("partition",), registry=registry
        )
        self._quality = Gauge(
            "segmentation_prediction_quality_ratio",
            "Prequential figures of the open window of 28 days.",
            ("figure",),
            registry=registry,
        )
        self._learned = Gauge(
            "segmentation_knowledge_time_seconds",
            "Tick at which the learner last renewed knowledge, in seconds since 1970-01-01 UTC.",
            registry=registry,
        )
        self._partition_gauges = (
            self._recovery,
            self._recovered,
            self._version,
            self._lag,
            self._delay,
            self._tick_delay,
        )

    def committed(self, report: BatchReport, standing: ShardStanding) -> None:
        """Count a commit."""
        record_count = 0
        for (family, outcome), count in report.events.items():
            self._events.labels(family, outcome).inc(count)
            record_count += count
        for reason, count in report.dead_letters.items():
            self._dead_letters.labels(reason).inc(count)
            record_count += count
        for labels, count in report.changes.items():
            self._changes.labels(*labels).inc(count)
        for axis, count in report.suppressed.items():
            self._suppressed.labels(axis).inc(count)
        self._rescores.inc(report.rescored_count)
        self._commits.inc()
        self._bytes.labels("read").inc(report.input_bytes)
        self._bytes.labels("written").inc(report.output_bytes)
        if record_count:
            self._batch.observe(record_count)
        for stage, seconds in report.seconds.items():
            self._stages.labels(stage).observe(seconds)
        self._stand(standing)

    def _stand(self, standing: ShardStanding) -> None:
        partition = str(standing.partition)
        self._lag.labels(partition).set(standing.end - standing.position)
        self._version.labels(partition).set(standing.knowledge_version)
        now_ms = self._clock_ms()
        for gauge, time_ms in ((self._delay, standing.watermark_ms), (self._tick_delay, standing.last_tick_ms)):
            if time_ms >= 0:
                gauge.labels(partition).set((now_ms - time_ms) / MS_PER_SECOND)

    def lagging(self, partition: int, lag: int) -> None:
        """Set the lag of a shard that may not commit at all."""
        self._lag.labels(str(partition)).set(lag)

    def recovered(self, partition: int, customer_count: int, seconds: float) -> None:
        """Note that a shard was built from its log."""
        self._recovery.labels(str(partition)).set(seconds)
        self._recovered.labels(str(partition)).set(customer_count)

    def failed(self, partition: int, reason: str) -> None:
        """Count that a shard begins anew after an error of the log."""
        self._failures.labels(str(partition), reason).inc()

    def revoked(self, partition: int) -> None:
        """Forget the gauges of a shard that another worker owns now."""
        for gauge in self._partition_gauges:
            with suppress(KeyError):
                gauge.remove(str(partition))

    def learned(self, version: int, time_ms: int, quality: dict[str, float | None] | None) -> None:
        """Note that knowledge was renewed, or that quality was told."""
        del version
        self._learned.set(time_ms / MS_PER_SECOND)
        for figure, value in (quality or {}).items():
            # A figure that cannot be told is null.
            if value is not None and math.isfinite(value):
                self._quality.labels(figure).set(value)


class Populated(Protocol):
    """Whoever has shards."""

    def engines(self) -> Iterable[Engine]:
        """Give the engines of all shards of this process."""


class PopulationCollector:
    """Counts customers by segment when somebody asks, so that commits need not.

    Parameters
    ----------
    source
        Has the engines.
    policy
        Names axes and tiers.
    """

    def __init__(self, source: Populated, policy: Policy) -> None:
        self._source, self._policy = source, policy

    def collect(self) -> Iterator[Metric]:
        """Give the populations as they are now."""
        family = GaugeMetricFamily(
            "segmentation_segment_customers", "Customers by segment.", labels=self._policy.axis_names
        )
        counts: dict[tuple[int, ...], int] = {}
        for engine in self._source.engines():
            for states, count in _segments(engine):
                counts[states] = counts.get(states, 0) + count
        for states, count in sorted(counts.items()):
            family.add_metric(self._policy.name_segment(states), count)
        yield family


def _segments(engine: Engine) -> Iterator[tuple[tuple[int, ...], int]]:
    rows = engine.table.rows
    is_live = ~engine.table.is_erased(np.arange(len(rows)))
    states: NDArray[np.int8] = states_of(rows["held"], rated(rows, rates_everyone=engine.policy.rates_everyone))
    kinds, counts = np.unique(states[is_live], axis=0, return_counts=True)
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        yield tuple(kind), count
