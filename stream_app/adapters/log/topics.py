"""The topics of an application: their names, how they are partitioned, and how long they keep what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

RECORD_BYTES_MAX = 900_000
"""Largest record that is written: brokers take 1,048,588 bytes by default, headers and framing included."""
TRANSACTION_BYTES_MAX = 8_000_000
"""Most bytes of a transaction, so that readers of committed records never wait for long."""


class Cleanup(Enum):
    """What becomes of old records."""

    KEEP = "keep"
    """Nothing: whoever owns the topic truncates it, or nobody does."""
    COMPACT = "compact"
    """The last record of each key is kept."""


class Partitions(Enum):
    """How many partitions a topic has."""

    AS_EVENTS = "as_events"
    """As many as the events, partition p for partition p."""
    ONE = "one"


@dataclass(frozen=True, slots=True)
class TopicRule:
    """How a topic has to be.

    Parameters
    ----------
    partitions
        How many it has.
    cleanup
        What becomes of old records.
    config
        Topic settings of Kafka beyond these.
    """

    partitions: Partitions
    cleanup: Cleanup
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of all topics of an application.

    Parameters
    ----------
    app
        Name of the application: letters, digits, `.`, `_` and `-`.
    events
        The user's own topic of customer events.
    """

    app: str
    events: str

    @property
    def ticks(self) -> str:
        """Time that has passed; partition p for shard p."""
        return f"{self.app}-ticks"

    @property
    def learner_input(self) -> str:
        """What shards tell the learner; one partition."""
        return f"{self.app}-learner-input"

    @property
    def learner_state(self) -> str:
        """From what the learner goes on; one partition."""
        return f"{self.app}-learner-state"

    @property
    def knowledge(self) -> str:
        """Every version of knowledge; one partition."""
        return f"{self.app}-knowledge"

    @property
    def state(self) -> str:
        """Rows of customers; partition p for shard p."""
        return f"{self.app}-state"

    @property
    def journal(self) -> str:
        """What a replay needs beyond the events; partition p for shard p."""
        return f"{self.app}-journal"

    @property
    def segment_changes(self) -> str:
        """Segment changes; partition p for shard p."""
        return f"{self.app}-segment-changes"

    @property
    def current_segments(self) -> str:
        """The current segment of each customer; partition p for shard p."""
        return f"{self.app}-current-segments"

    @property
    def dead_letters(self) -> str:
        """Refused records; partition p for shard p."""
        return f"{self.app}-dead-letters"

    def rules(self) -> dict[str, TopicRule]:
        """Name to rule, of all topics but that of the events, which is the user's."""
        # Nothing is freed but closed segments; small ones let truncation free space early.
        truncated = {"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": str(16 << 20)}
        kept = {"retention.ms": "-1", "retention.bytes": "-1"}
        own = {
            self.ticks: (Partitions.AS_EVENTS, Cleanup.KEEP, kept),
            self.learner_input: (Partitions.ONE, Cleanup.KEEP, truncated),
            self.learner_state: (Partitions.ONE, Cleanup.KEEP, truncated),
            self.knowledge: (Partitions.ONE, Cleanup.KEEP, kept),
            self.state: (Partitions.AS_EVENTS, Cleanup.KEEP, truncated),
            self.journal: (Partitions.AS_EVENTS, Cleanup.KEEP, kept),
            self.segment_changes: (Partitions.AS_EVENTS, Cleanup.KEEP, {}),
            self.current_segments: (Partitions.AS_EVENTS, Cleanup.COMPACT, {}),
            self.dead_letters: (Partitions.AS_EVENTS, Cleanup.KEEP, {}),
        }
        return {name: TopicRule(*rule) for name, rule in own.items()}
