"""What the learner knows of the population: scoring and cut points, versioned and immutable."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.linear_score import LinearWeights, Stack
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.snapshots import SAMPLE_ALL

QUANTILE_STEPS = 1000
"""Steps of the grid by which a score is told as a percentile: a tenth of a percent each."""

HASH_BYTES = 16
"""Length of a content hash."""

HALF_BELIEVED_LABELS = 5_000
"""Outcomes n after which the learned term of the value score has half of its weight, n^2 / (n^2 + 5,000^2). With more
from the first few hundred outcomes on, it would move many customers whom it moves back a week later, and tell equal
ones apart."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedProbability:
    """A learned model of a probability, and how far it is trusted against the formula of the same."""

    weights: LinearWeights
    stack: Stack


@dataclass(frozen=True, slots=True, eq=False)
class LearnedCount:
    """A learned model of a mean count, and by how much its predictions have to be raised to come true."""

    weights: LinearWeights
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """Parameters that turn a row into scores; they change rarely, and only together with their cut points.

    Parameters
    ----------
    version
        Counts up from 1.
    weights
        Axis name to one weight for each additive term of its score, in the order of the terms.
    population
        Parameters of the formulas.
    buy, growth, count
        Learned models, on the features of `domain.features`; None before enough outcomes were seen.
    label_count
        Outcomes that the learned models have seen.
    past_share
        How far past spends count in the value score beside forecasts, in (0, 1]; 1 as long as there are no forecasts.
    """

    version: int
    weights: dict[str, tuple[float, ...]]
    population: PopulationModel = field(default_factory=PopulationModel)
    buy: LearnedProbability | None = None
    growth: LearnedProbability | None = None
    count: LearnedCount | None = None
    label_count: int = 0
    past_share: float = 1.0

    @property
    def label_share(self) -> float:
        """How far what was learned from outcomes is believed in the value score, in [0, 1)."""
        if self.count is None:
            return 0.0
        ratio = self.label_count / HALF_BELIEVED_LABELS
        return ratio * ratio / (1.0 + ratio * ratio)

    @property
    def has_seen_snapshots(self) -> bool:
        """Tell whether the formulas' parameters are of this population, or only what is believed before."""
        return self.population.spend.mean_amount > 0.0


@dataclass(frozen=True, slots=True, eq=False)
class AxisKnowledge:
    """The lines of one axis and the population they were taken from.

    Parameters
    ----------
    cut_points
        Shape `(n_tiers - 1,)`, float64: scores at the tiers' edges; a score at the line is above it.
    promote_lines, demote_lines
        Shape `(n_tiers - 1,)`, float64: edges of the hysteresis band around each cut point (S17).
    term_means
        Shape `(n_terms,)`, float64: population mean of each additive term (S20).
    quantile_scores
        Shape `(QUANTILE_STEPS + 1,)`, float64, not decreasing: lower bucket edge of each quantile; empty before the
        population has been seen.
    rated_count
        How many rated customers the lines were taken from.
    """

    cut_points: NDArray[np.float64]
    promote_lines: NDArray[np.float64]
    demote_lines: NDArray[np.float64]
    term_means: NDArray[np.float64]
    quantile_scores: NDArray[np.float64]
    rated_count: int

    def percentiles(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the share of the population below each score.

        Parameters
        ----------
        scores
            Shape `(n,)`.

        Returns
        -------
        NDArray[np.float64]
            Shape `(n,)`, percent in [0, 100] in steps of a tenth; NaN before the population has been seen.
        """
        if not len(self.quantile_scores):
            return np.full(len(scores), np.nan)
        places = np.searchsorted(self.quantile_scores, scores, side="right") - 1
        return np.maximum(places, 0) * (100.0 / QUANTILE_STEPS)


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """One version of all that shards apply.

    Parameters
    ----------
    version
        Counts up from 1; every segment change names the version that made it.
    policy_hash
        Content hash of the policy it was made under.
    time_reached_ms
        The tick it was made at, in milliseconds since 1970-01-01 UTC; -1 for the first version.
    scoring
        How rows are scored.
    axes
        Axis name to its lines; None while there are none, because too few customers are rated (S13).
    sample_limit
        Customers are snapshotted for the learner whose `snapshots.sample_numbers` are below it (S15).
    snapshot_count, outcome_count
        Provenance: how many snapshots and outcomes the learner had seen when it made this version. Those that the
        scoring was made from are fewer: a scoring stays in force until the next switch.
    """

    version: int
    policy_hash: str
    time_reached_ms: int
    scoring: Scoring
    axes: dict[str, AxisKnowledge | None]
    sample_limit: int = SAMPLE_ALL
    snapshot_count: int = 0
    outcome_count: int = 0

    @property
    def content_hash(self) -> str:
        """32 hex digits over everything above, to the bit of every number; the same on every machine."""
        digest = blake2b(digest_size=HASH_BYTES)
        for part in _bytes_of(self):
            digest.update(part)
        return digest.hexdigest()

    def require_policy(self, policy_hash: str) -> None:
        """Refuse to be used under another policy than that it was made under.

        Parameters
        ----------
        policy_hash
            Content hash of the policy in use.

        Raises
        ------
        IncompatibleStateError
            Code `other_policy_knowledge`, when it is another one.
        """
        if self.policy_hash != policy_hash:
            message = (
                f"knowledge version {self.version} was made under policy {self.policy_hash}, in use is {policy_hash}: "
                "go back to the policy it was made under, or replay the log to make knowledge under this one"
            )
            raise IncompatibleStateError(message, code="other_policy_knowledge")


def _bytes_of(value: object) -> Iterator[bytes]:
    """Give what a content hash is taken over: every part with kind and size, so that no two run together."""
    if is_dataclass(value):
        yield from _bytes_of({each.name: getattr(value, each.name) for each in fields(value)})
    elif isinstance(value, Mapping):
        yield b"map %d;" % len(value)
        for name, item in value.items():
            yield from _bytes_of(name)
            yield from _bytes_of(item)
    elif isinstance(value, np.ndarray):
        yield b"array %d;" % value.size
        yield np.ascontiguousarray(value, dtype="<f8").tobytes()
    elif isinstance(value, tuple):
        yield b"tuple %d;" % len(value)
        for item in value:
            yield from _bytes_of(item)
    elif isinstance(value, float):
        yield b"float;" + struct.pack("<d", value)
    else:
        text = f"{type(value).__name__} {value}".encode()
        yield b"%d;" % len(text) + text
