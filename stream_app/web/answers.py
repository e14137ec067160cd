"""The answers of the API as models: what stands in the OpenAPI description, with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(description="RFC 3339 in UTC with milliseconds.", examples=["2024-05-01T12:30:00.250Z"])]
Segment = Annotated[
    dict[str, str],
    Field(
        description="Axis to the tier held on it; `unrated` or `prospect` where there is none.",
        examples=[{"value": "vip", "growth": "declining"}],
    ),
]
CustomerId = Annotated[str, Field(description="The customer.", examples=["c-48213"])]


class Answer(BaseModel):
    """What every answer has."""

    model_config = ConfigDict(extra="forbid")

    as_of: Time | None = Field(
        description="How far time has come in all partitions: what happened until then is in the answer. Null before "
        "anything is known."
    )


class Treatment(BaseModel):
    """What the policy gives the customers of a segment."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(description="Who serves the customer: `human` or `digital`.", examples=["human"])
    action: str = Field(description="What is done.", examples=["Call: a personal contact asks what is missing."])


class Candidate(BaseModel):
    """A tier that the score suggests, and that is not held yet."""

    model_config = ConfigDict(extra="forbid")

    tier: str = Field(examples=["steady"])
    since: Time
    due_at: Time = Field(description="When it becomes the held tier, if the score stays as it is.")


class AxisStanding(BaseModel):
    """Where a customer stands on one axis."""

    model_config = ConfigDict(extra="forbid")

    axis: str = Field(examples=["value"])
    tier: str = Field(description="The held tier, `unrated` or `prospect`.", examples=["vip"])
    score: float | None = Field(description="As of the last time the customer was scored; null: not rated.")
    shown_score: float | None = Field(description="The score in the unit in which people read it, as a probability.")
    percentile: float | None = Field(
        description="Share of rated customers with a lower score, in percent.", ge=0, le=100
    )
    candidate: Candidate | None = Field(description="What waits to be confirmed; null: nothing.")


class Freshness(BaseModel):
    """How new an answer about a customer is."""

    model_config = ConfigDict(extra="forbid")

    last_event_at: Time = Field(description="The customer's clock: the latest event that counted.")
    last_tick_at: Time | None = Field(description="The last tick of the customer's partition.")
    partition: int = Field(examples=[3])
    events_behind: int | None = Field(description="Events of the partition that wait to be applied; null: not known.")
    knowledge_version: int = Field(description="Version of the knowledge the customer was scored by.", examples=[121])


class Purchases(BaseModel):
    """What a customer bought so far; amounts in the reporting currency."""

    model_config = ConfigDict(extra="forbid")

    currency: str = Field(examples=["USD"])
    count: int = Field(description="Purchases.", examples=[14])
    baskets: int = Field(description="Days with a purchase.", examples=[11])
    gross_spend: float = Field(examples=[812.5])
    net_spend: float = Field(description="Less refunds, plus what the policy counts as worth.", examples=[790.0])
    refunded: float = Field(examples=[22.5])
    first_at: Time | None
    last_at: Time | None


class CustomerAnswer(Answer):
    """One customer, now."""

    customer_id: CustomerId
    segment: Segment
    treatment: Treatment
    axes: list[AxisStanding]
    changes: int = Field(description="Segment changes that were told of the customer so far.", examples=[4])
    purchases: Purchases
    freshness: Freshness


class Change(BaseModel):
    """A segment change as it was published (`segment_changed.v1`)."""

    model_config = ConfigDict(extra="allow")

    change_id: str = Field(examples=["fb6f7ccfa8ce8b0a9d0b3df0fd1b3bd1"])
    customer_id: CustomerId
    sequence: int = Field(examples=[2])
    axis: str = Field(examples=["value"])
    from_tier: str | None = Field(examples=["small"])
    to_tier: str = Field(examples=["big"])
    segment: Segment
    score: float
    percentile: float | None
    cut_point: float | None
    cause: str = Field(examples=["event"])
    trigger_event_id: str | None
    reasons: list[dict[str, Any]] = Field(
        examples=[
            [{"term": "spend_recent_months", "contribution": 0.64, "text": "spent about 182 USD, recent months ..."}]
        ]
    )
    treatment: Treatment
    effective_at: Time
    policy_version: str
    knowledge_version: int
    source: dict[str, Any]


class ChangesAnswer(Answer):
    """Segment changes, a page of them."""

    items: list[Change]
    next: str | None = Field(description="Pass it as `cursor` for the next page; null: there is none.")


class HistoryAnswer(ChangesAnswer):
    """All segment changes of one customer, oldest first, a page of them."""

    customer_id: CustomerId


class AxisTiers(BaseModel):
    """An axis and its tiers."""

    model_config = ConfigDict(extra="forbid")

    axis: str = Field(examples=["value"])
    tiers: list[str] = Field(description="From lowest to highest.", examples=[["small", "big", "vip"]])


class SegmentPopulation(BaseModel):
    """How many customers a segment has."""

    model_config = ConfigDict(extra="forbid")

    segment: Segment
    customers: int = Field(examples=[1204])
    share: float = Field(description="Of all customers, in [0, 1].", examples=[0.12])
    treatment: Treatment


class TierPopulation(BaseModel):
    """How many customers a tier has."""

    model_config = ConfigDict(extra="forbid")

    axis: str
    tier: str
    customers: int


class SegmentsAnswer(Answer):
    """The matrix of populations."""

    axes: list[AxisTiers]
    customers: int = Field(description="All customers, prospects included.")
    segments: list[SegmentPopulation] = Field(
        description="All combinations of tiers, first axis slowest, each from low to high; then those with "
        "`unrated` or `prospect` that have customers."
    )
    tiers: list[TierPopulation]


class ListedCustomer(BaseModel):
    """A customer in a list."""

    model_config = ConfigDict(extra="forbid")

    customer_id: CustomerId
    scores: dict[str, float | None]
    shown_scores: dict[str, float | None]
    percentiles: dict[str, float | None]
    net_spend: float
    last_purchase_at: Time | None


class SegmentCustomersAnswer(Answer):
    """Customers of a segment by falling score, a page of them."""

    segment: Segment
    treatment: Treatment
    customers: int = Field(description="How many the segment has.")
    sort: str = Field(description="Axis whose score orders them.", examples=["value"])
    items: list[ListedCustomer]
    next: str | None = Field(description="Pass it as `cursor` for the next page; null: there is none.")


class Migration(BaseModel):
    """How often customers went from one tier to another."""

    model_config = ConfigDict(extra="forbid")

    from_tier: str | None = Field(description="Null: rated for the first time.", examples=["small"])
    to_tier: str = Field(examples=["big"])
    changes: int = Field(examples=[310])
    causes: dict[str, int] = Field(examples=[{"event": 300, "time": 10}])


class AxisMigrations(AxisTiers):
    """All migrations on one axis."""

    migrations: list[Migration]


class MigrationsAnswer(Answer):
    """Migrations between tiers within a time, in whole hours."""

    since: Time | None
    until: Time | None
    axes: list[AxisMigrations]


class AxisSeries(AxisTiers):
    """Populations and changes on one axis over time."""

    customers: dict[str, list[int]] = Field(description="Tier to the rated customers in it at each time.")
    rose: list[int] = Field(description="Changes to a higher tier in the step that ends at each time.")
    fell: list[int]
    first_rated: list[int]


class PopulationsAnswer(Answer):
    """Populations and changes over time, counted from the changes that were published."""

    step_seconds: int = Field(examples=[86_400])
    times: list[Time] = Field(description="Ends of the steps.")
    axes: list[AxisSeries]


class CutLine(BaseModel):
    """The lines between two tiers."""

    model_config = ConfigDict(extra="forbid")

    lower_tier: str = Field(examples=["small"])
    upper_tier: str = Field(examples=["big"])
    cut_point: float
    promote_line: float
    demote_line: float


class DistributionAnswer(Answer):
    """How scores of an axis are spread over the rated customers."""

    axis: str
    customers: int = Field(description="Rated customers.")
    edges: list[float] = Field(description="Edges of the bars, rising; one more than there are bars.")
    shown_edges: list[float] = Field(description="The same in the unit in which people read scores.")
    counts: list[int]
    lines: list[CutLine] = Field(description="From the lowest tiers to the highest; empty before there are any.")
    knowledge_version: int | None


class QualityAnswer(Answer):
    """How good predictions were when their outcomes came."""

    points: list[dict[str, Any]] = Field(
        description="Figures over time, oldest first: `time`, and those of `docs/judging.md`.",
        examples=[[{"time": "2024-05-01T00:00:00.000Z", "buy_auc": 0.79, "growth_auc": 0.7}]],
    )


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:stream-app:problem:unknown_customer"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no customer has this id"])
    code: str = Field(description="Stable name of the error.", examples=["unknown_customer"])
    errors: list[dict[str, Any]] | None = Field(default=None, description="What is wrong with which parameter.")
