"""How a process that works on records all day has the interpreter set up."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_SECONDS = 0.0005
"""Threads hand the interpreter over after 5 ms by default: much of the latency of whoever waits for it."""
COLLECTED_AFTER = 100_000
"""Objects made since the last search for cycles. Records are made by the thousand, and in no cycles: at Python's 700,
searching takes as long as parsing them."""


def take_short_turns() -> None:
    """Let threads hand the interpreter over at short intervals."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)


def search_less_for_cycles() -> None:
    """Search for cycles more seldom, and leave out what is there now, which stays for good."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)
