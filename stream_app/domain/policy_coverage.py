"""Whether an ordered list of patterns gives every segment an answer, and every pattern a segment."""

from __future__ import annotations

from collections.abc import Sequence

from stream_app.domain.policy import ANY_TIER

Pattern = tuple[str, ...]
"""One tier, `unrated`, `prospect` or `*` for each axis."""


def uncovered_segment(patterns: Sequence[Pattern], states: Sequence[Sequence[str]]) -> Pattern | None:
    """Find a segment that no pattern fits.

    Parameters
    ----------
    patterns
        Patterns of one length.
    states
        For each axis, what a segment can say there.

    Returns
    -------
    Pattern | None
        The first such segment in the order of the states; None when every segment is covered.

    Examples
    --------
    >>> uncovered_segment([("a", "*"), ("*", "x")], [("a", "b"), ("x", "y")])
    ('b', 'y')
    """
    return _search(frozenset(range(len(patterns))), 0, patterns, states, set())


def is_reachable(pattern: Pattern, earlier: Sequence[Pattern], states: Sequence[Sequence[str]]) -> bool:
    """Whether some segment fits the pattern and none of the earlier ones.

    Parameters
    ----------
    pattern
        The pattern in question.
    earlier
        The patterns that are tried before it.
    states
        For each axis, what a segment can say there.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_reachable(("*",), [("a",), ("b",)], [("a", "b")])
    False
    """
    narrowed = [
        [state for state in row if entry in (ANY_TIER, state)] for entry, row in zip(pattern, states, strict=True)
    ]
    return uncovered_segment(earlier, narrowed) is not None


def _search(
    left: frozenset[int],
    axis: int,
    patterns: Sequence[Pattern],
    states: Sequence[Sequence[str]],
    covered: set[tuple[int, frozenset[int]]],
) -> Pattern | None:
    """Walk the axes with the patterns that still fit; what was found to be covered is not walked again."""
    if (axis, left) in covered:
        return None
    if not left:
        return tuple(row[0] for row in states[axis:])
    catches_all = any(all(entry == ANY_TIER for entry in patterns[index][axis:]) for index in left)
    if not catches_all:
        for state in states[axis]:
            fitting = frozenset(index for index in left if patterns[index][axis] in (ANY_TIER, state))
            rest = _search(fitting, axis + 1, patterns, states, covered)
            if rest is not None:
                return (state, *rest)
    covered.add((axis, left))
    return None
