"""Lines and cut points of the scalar reference: plain counting over sorted buckets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stream_app.domain.policy import AxisPolicy, CutRule, Policy


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one axis, from the lowest edge to the highest."""

    cut_points: tuple[float, ...]
    promote: tuple[float, ...]
    demote: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReferenceKnowledge:
    """What the reference knows of the population: weights of the terms, and lines or None, by name of the axis."""

    version: int
    scoring_version: int
    weights: Mapping[str, tuple[float, ...]]
    lines: Mapping[str, Lines | None]


def position(lines: Sequence[float], score: float) -> int:
    """Count the lines at or below a score."""
    return sum(line <= score for line in lines)


def candidate_of(held: int, lines: Lines, score: float) -> int:
    """Give the tier that a score suggests to a customer who holds one (S17)."""
    return min(max(held, position(lines.promote, score)), position(lines.demote, score))


def quantile_edge(histogram: Mapping[int, int], width: float, quantile: Fraction) -> float:
    """Give the lowest bucket edge that a share of at most `1 - quantile` of the population is at or above."""
    allowed = (1 - quantile) * sum(histogram.values())
    at_or_above = 0
    for bucket in sorted(histogram, reverse=True):
        at_or_above += histogram[bucket]
        if at_or_above > allowed:
            return (bucket + 1) * width
    message = f"quantile = {quantile}, must be above 0"
    raise ValueError(message)


def lines_of(axis: AxisPolicy, rated_customers_min: int, histogram: Mapping[int, int], width: float) -> Lines | None:
    """Draw an axis's lines from the merged histogram of stored buckets (S16, S17)."""
    if axis.cut_rule is CutRule.ABSOLUTE:
        return Lines(
            cut_points=axis.cuts,
            promote=tuple(cut + axis.margin.rise for cut in axis.cuts),
            demote=tuple(cut - axis.margin.fall for cut in axis.cuts),
        )
    if sum(histogram.values()) < max(1, rated_customers_min):
        return None
    # A quantile is the decimal number that the policy's author wrote: in binary, 1 - 0.8 is below one fifth.
    quantiles = [Fraction(str(cut)) for cut in axis.cuts]
    sides = [min(quantile, 1 - quantile) for quantile in quantiles]
    rise, fall = (Fraction(str(margin)) for margin in axis.margin)

    def edges(wanted: Iterable[Fraction]) -> tuple[float, ...]:
        return tuple(quantile_edge(histogram, width, quantile) for quantile in wanted)

    return Lines(
        cut_points=edges(quantiles),
        promote=edges(quantile + rise * side for quantile, side in zip(quantiles, sides, strict=True)),
        demote=edges(quantile - fall * side for quantile, side in zip(quantiles, sides, strict=True)),
    )


def draw_all_lines(
    policy: Policy, widths: Sequence[float], sketches: Sequence[Sequence[Counter[int]]]
) -> dict[str, Lines | None]:
    """Draw the lines of all axes.

    Parameters
    ----------
    policy
        What people decided.
    widths
        Bucket width of each axis's score.
    sketches
        For each shard, one histogram of buckets for each axis; no shard at all for the first version.
    """
    lines = {}
    for number, axis in enumerate(policy.axes):
        merged: Counter[int] = Counter()
        for sketch in sketches:
            merged.update(sketch[number])
        lines[axis.name] = lines_of(axis, policy.rated_customers_min, merged, widths[number])
    return lines
