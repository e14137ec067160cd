"""Shards in the middle of their work: everybody has a past and holds tiers, and the state log tells a worker of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.live_application import SPAN_MS, VERSION, Events, LiveApplication
from benchmarks.scale import Scale
from benchmarks.warm_engine import WarmEngine
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.state_header import StateHeader
from stream_app.domain.events import MS_PER_DAY, Family
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.policy import Policy
from stream_app.domain.rows import take_rows
from stream_app.domain.table import CustomerTable
from stream_app.streaming.state_log import pack_table

NEW_SHARE = 0.1
"""Share of events that are first purchases, each with a change on both axes: as in a year of ten events a customer."""
_SWEEP_DAYS = 1
_FIRST_AMOUNT = 40.5
_SEED = 3


class WarmShards:
    """A population with a past of about a year, for the shards of a worker.

    Parameters
    ----------
    scale
        How long the warm-up is.
    customers
        How many.
    """

    def __init__(self, scale: Scale, customers: int) -> None:
        warm_up = min(scale.warm_up_events, customers)
        self._warm = WarmEngine(replace(scale, customers=customers, warm_up_events=warm_up), _SWEEP_DAYS)
        self._types = _types_of(self._warm.policy)

    @property
    def knowledge(self) -> Knowledge:
        """What the rows were scored by, above all that a learner could publish meanwhile."""
        return replace(self._warm.knowledge, version=VERSION)

    @property
    def start_ms(self) -> int:
        """Time of the first event of `draw`, just after a tick, in milliseconds since 1970-01-01 UTC."""
        return self._warm.engine.last_tick_ms + 1

    @property
    def ids(self) -> list[str]:
        """Ids of all customers."""
        return self._warm.source.ids

    def draw(self, count: int, new_share: float = 0.0) -> Events:
        """Draw what comes next: events of all families; a share of them are first purchases of new customers."""
        raw = self._warm.source.draw(self._warm.source.customers(count, 0.0))
        is_new = np.random.default_rng(_SEED).random(count) < new_share
        families = np.where(is_new, np.uint8(Family.PURCHASE), raw.families)
        customers = list(raw.customer_ids)
        for place in np.flatnonzero(is_new).tolist():
            customers[place] = f"new-{raw.event_ids[place]}"
        amounts = np.where(is_new & (raw.amounts == 0.0), _FIRST_AMOUNT, raw.amounts)
        times_ms = (self.start_ms + np.arange(count) * SPAN_MS // count).tolist()
        columns = (raw.event_ids, customers, families.tolist(), times_ms, amounts.tolist())
        values = [
            b'{"event_id":"%b","customer_id":"%b","type":"%b","occurred_at":%d,"amount":%b,"currency":"USD"}'
            % (event.encode(), customer.encode(), self._types[family], time_ms, b"%.2f" % amount)
            for event, customer, family, time_ms, amount in zip(*columns, strict=True)
        ]
        return Events([*map(str.encode, customers)], values, times_ms)

    async def hand_over(self, log: Log, application: LiveApplication) -> None:
        """Write knowledge and the state of all shards, before the worker is started."""
        await application.publish(log, self.knowledge)
        engine, count = self._warm.engine, application.partition_count
        owners = partitions_of(engine.table.ids.tolist(), count)
        for partition in range(count):
            own = np.flatnonzero(owners == partition)
            table = CustomerTable(engine.table.rows.dtype, self._warm.policy.sweep_period_minutes)
            table.restore(engine.table.ids[own], take_rows(engine.table.rows, own))
            header = self._header(application.topics, partition, count)
            for records in pack_table(table, header):
                await log.append([Outgoing(application.topics.state, partition, records)])

    def _header(self, topics: Topics, partition: int, partition_count: int) -> StateHeader:
        engine, policy = self._warm.engine, self._warm.policy
        term_sums, term_counts = engine.term_totals()
        return StateHeader(
            state_hash=policy.state_hash,
            policy_hash=policy.content_hash,
            app=topics.app,
            partition=partition,
            partition_count=partition_count,
            positions={topics.events: 0, topics.ticks: 0},
            knowledge_version=VERSION,
            pending_knowledge_version=VERSION,
            clock=engine.clock,
            term_sums=term_sums,
            term_counts=term_counts,
            renewed_day=engine.last_tick_ms // MS_PER_DAY,
            cursor=None,
            extra={"watermark_ms": engine.last_tick_ms, "answered": -1, "is_waiting": False},
        )


def _types_of(policy: Policy) -> dict[int, bytes]:
    """Give the first event type of each family that needs no rating."""
    types = {int(rule.family): name.encode() for name, rule in reversed(list(policy.event_rules.items()))}
    return {int(family): types.get(int(family), b"browse") for family in Family}
