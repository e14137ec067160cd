"""The answer to why a customer stands where they stand, as a model with examples."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stream_app.web.answers import Answer, Candidate, CustomerId, Segment, Treatment


class Contribution(BaseModel):
    """A term of a score against that of a typical customer."""

    model_config = ConfigDict(extra="forbid")

    term: str = Field(examples=["spend_recent_months"])
    contribution: float = Field(description="Term less its population mean, in units of the score.", examples=[0.64])
    text: str = Field(examples=["spent about 182 USD, recent months counting most; a typical customer about 50 USD"])


class TierLine(BaseModel):
    """What would bring the customer into a neighbouring tier."""

    model_config = ConfigDict(extra="forbid")

    direction: Literal["up", "down"]
    tier: str = Field(description="The tier beyond the line.", examples=["vip"])
    line: float = Field(description="Score of the line, hysteresis included.", examples=[5.31])
    distance: float = Field(description="Line minus score.", examples=[0.29])
    percentile: float | None = Field(
        description="Share of rated customers below the line, in percent.", examples=[96.2]
    )
    text: str = Field(examples=["becomes vip if spending, past and expected, is about 1.2 times as much"])


class AxisExplanation(BaseModel):
    """Why a customer stands where they stand on one axis."""

    model_config = ConfigDict(extra="forbid")

    axis: str = Field(examples=["value"])
    tier: str = Field(examples=["big"])
    score: float | None = Field(description="As of `as_of`; null: not rated.")
    shown_score: float | None
    percentile: float | None
    typical_score: float | None = Field(description="Mean score of the rated customers.")
    contributions: list[Contribution] = Field(
        description="All terms that count, largest first; they add up to the score less the typical score."
    )
    next: list[TierLine] = Field(description="What would change the tier.")
    confirmation: str = Field(description="How long a change of tier must hold before it counts.", examples=["14d"])
    candidate: Candidate | None
    text: str = Field(description="All of it in a sentence or two.")


class Expectation(BaseModel):
    """What is expected of a customer over the policy's horizon."""

    model_config = ConfigDict(extra="forbid")

    horizon_days: float = Field(examples=[84.0])
    alive_probability: float
    buy_probability: float
    growth_probability: float | None = Field(description="Probability of spending more than over the last horizon.")
    expected_purchases: float
    expected_spend: float
    previous_spend: float
    currency: str


class WhyAnswer(Answer):
    """Why a customer is in their segment, and what would change it."""

    customer_id: CustomerId
    segment: Segment
    treatment: Treatment
    axes: list[AxisExplanation]
    expectation: Expectation | None = Field(description="Null: before there is any knowledge.")
