"""Streams worked out by hand, rule by rule; the reference and the engine must both give these numbers.

Day 0 is 2024-01-01. The half-lives are 1, 2, 4 and 8 days, so that most sums can be followed in the head:
100 is 6.25, 25, 50 and 70.71 four days later. A single purchase of a scores ln(1 + a).
"""

from __future__ import annotations

from tests.worked_examples.counting import COUNTING
from tests.worked_examples.example import Example, assert_as_worked_out
from tests.worked_examples.tiers import TIERS
from tests.worked_examples.turns import TURNS

__all__ = ["EXAMPLES", "Example", "assert_as_worked_out"]

EXAMPLES = (*COUNTING, *TURNS, *TIERS)
"""Every worked example."""
