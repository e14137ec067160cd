"""The search over patterns finds what trying every combination finds, and stays fast where that would not."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.policy_coverage import Pattern, is_reachable, uncovered_segment

STATES = [("a", "b", "c"), ("x", "y"), ("p", "q", "r")]
PATTERNS = st.tuples(*(st.sampled_from(["*", *row]) for row in STATES))


def fits(pattern: Pattern, segment: Pattern) -> bool:
    return all(wanted in ("*", state) for wanted, state in zip(pattern, segment, strict=True))


@given(st.lists(PATTERNS, max_size=25))
def test_an_uncovered_segment_is_found_exactly_when_there_is_one(patterns: list[Pattern]) -> None:
    uncovered = [segment for segment in product(*STATES) if not any(fits(pattern, segment) for pattern in patterns)]

    found = uncovered_segment(patterns, STATES)

    assert found == (uncovered[0] if uncovered else None)


@given(PATTERNS, st.lists(PATTERNS, max_size=25))
def test_a_pattern_is_reachable_exactly_when_a_segment_falls_through_to_it(
    pattern: Pattern, earlier: list[Pattern]
) -> None:
    falls_through = any(
        fits(pattern, segment) and not any(fits(each, segment) for each in earlier) for segment in product(*STATES)
    )

    assert is_reachable(pattern, earlier, STATES) is falls_through


def test_many_axes_with_many_rules_are_checked_without_trying_every_combination() -> None:
    states = [[f"tier_{number}" for number in range(22)] for _ in range(8)]
    patterns = [tuple(row[k] if (k + axis) % 2 else "*" for axis, row in enumerate(states)) for k in range(22)]

    assert uncovered_segment(patterns, states) is not None
    assert uncovered_segment([*patterns, ("*",) * 8], states) is None
    assert is_reachable(("*",) * 8, patterns, states)


def test_rules_that_differ_on_the_last_axis_only_are_checked_once_for_all_combinations_before() -> None:
    states = [[f"tier_{number}" for number in range(22)] for _ in range(8)]
    patterns = [("*",) * 7 + (state,) for state in states[7]]

    assert uncovered_segment(patterns, states) is None
    assert uncovered_segment(patterns[1:], states) == ("tier_0",) * 8
