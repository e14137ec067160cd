"""The answer about the system itself, as a model with examples."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stream_app.web.answers import Answer, AxisTiers, Time


class PartitionStatus(BaseModel):
    """How far a partition has come."""

    model_config = ConfigDict(extra="forbid")

    partition: int
    events_position: int = Field(description="Offset of the next event to apply.")
    events_end: int | None
    lag: int | None = Field(description="Events that wait; null: not known.")
    watermark: Time | None = Field(description="Latest event time.")
    last_tick: Time | None
    knowledge_version: int
    is_read: bool = Field(description="All its rows have been read.")


class KnowledgeStatus(BaseModel):
    """The knowledge in force."""

    model_config = ConfigDict(extra="forbid")

    version: int
    scoring_version: int
    made_at: Time | None = Field(description="The tick it was made at.")
    age_seconds: float | None = Field(description="Of event time, as of `as_of`.")
    outcomes_learned: int
    rated_customers: dict[str, int | None]


class PolicyStatus(BaseModel):
    """The policy in force."""

    model_config = ConfigDict(extra="forbid")

    name: str
    owner: str
    objective: str
    version: str
    currency: str
    axes: list[AxisTiers]


class StatusAnswer(Answer):
    """What is going on."""

    state: Literal["reading", "live", "disconnected"] = Field(
        description="`reading`: rows are still being read after a start. `disconnected`: the log cannot be read."
    )
    fault: str | None = Field(description="What is wrong; null: nothing.")
    app: str
    customers: int
    changes: int = Field(description="Changes in the history.")
    events: int = Field(description="Events applied so far, all partitions.")
    events_per_second: float
    changes_per_second: float
    lag: int | None = Field(description="Events that wait, all partitions.")
    watermark: Time | None
    knowledge: KnowledgeStatus | None
    policy: PolicyStatus
    partitions: list[PartitionStatus]
    streams: int = Field(description="Open event streams.")
    version: str
