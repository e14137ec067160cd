"""What it means that two runs of one stream agree: with the reference to 1e-9, of the engine with itself to the bit."""

from __future__ import annotations

from tests.equivalence.runs import EngineRun
from tests.outcomes import Outcome, assert_rows_close, is_close
from tests.reference import ReferenceChange

_FLOATS = ("score", "cut_point", "term_values")


def assert_outcomes_agree(actual: Outcome, expected: Outcome) -> None:
    """Hold the engine's outcome to the reference's: scores to 1e-9, all else exactly."""
    assert actual.duplicates == expected.duplicates
    assert actual.tiers_before == expected.tiers_before
    assert len(actual.changes) == len(expected.changes)
    for mine, theirs in zip(actual.changes, expected.changes, strict=True):
        _assert_changes_agree(mine, theirs)
    assert actual.suppressed_counts == expected.suppressed_counts
    assert actual.rescored_count == expected.rescored_count
    assert actual.populations == expected.populations
    assert actual.rows.keys() == expected.rows.keys()
    for customer_id, row in expected.rows.items():
        assert_rows_close(actual.rows[customer_id], row)


def assert_same_to_the_bit(actual: EngineRun, expected: EngineRun) -> None:
    """Hold two runs of one stream equal in all that can be seen, floats exactly."""
    assert actual.told == expected.told
    assert actual.outcome.duplicates == expected.outcome.duplicates
    assert actual.outcome.tiers_before == expected.outcome.tiers_before
    assert actual.outcome.suppressed_counts == expected.outcome.suppressed_counts
    assert actual.outcome.rescored_count == expected.outcome.rescored_count
    assert actual.outcome.populations == expected.outcome.populations
    assert actual.histograms() == expected.histograms()
    assert actual.rows_by_id() == expected.rows_by_id()


def _assert_changes_agree(actual: ReferenceChange, expected: ReferenceChange) -> None:
    for name in ReferenceChange.__slots__:
        mine, theirs = getattr(actual, name), getattr(expected, name)
        if name == "term_values":
            # The engine pads with zeros to the axis of the most terms.
            padded = theirs + (0.0,) * (len(mine) - len(theirs))
            assert all(map(is_close, mine, padded)), (name, mine, theirs)
        elif name in _FLOATS and theirs is not None:
            assert mine is not None, (name, mine, theirs)
            assert is_close(mine, theirs), (name, mine, theirs)
        else:
            assert mine == theirs, (name, mine, theirs)
