"""What can go wrong with a log."""

from __future__ import annotations


class LogError(Exception):
    """The log failed; what was being committed may or may not be in it.

    Parameters
    ----------
    message
        What was wrong, and what to do.
    """


class UnusableLogError(LogError):
    """The log cannot be used until a person has mended something: a full disk, a damaged page."""


class FencedError(LogError):
    """A newer writer of the same name exists: somebody else owns the partition now."""
