"""Working on in spite of errors of the log, but not for ever."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream_app.adapters.log.errors import FencedError, LogError, UnusableLogError

FAILURES_MAX = 3
"""Errors of the log within a minute after which a supervisor has to begin anew."""
FAILURE_SPAN_S = 60.0
OPENING_PAUSE_S = 1.0
"""Time between attempts to take something over: brokers that have just started answer with errors of their own."""

_Opened = TypeVar("_Opened")


class ClosedError(Exception):
    """What was being worked on is given up: it was revoked meanwhile."""


async def keep_opening(open_it: Callable[[], Awaitable[_Opened]], failed: Callable[[LogError], None]) -> _Opened:
    """Open something; after an error of the log try again, `FAILURES_MAX` times.

    Parameters
    ----------
    open_it
        Begins from the start each time.
    failed
        Told of each error after which it is tried again.

    Raises
    ------
    FencedError
        At once: somebody else owns what was to be opened.
    UnusableLogError
        At once: a person has to mend something.
    LogError
        After too many errors.
    """
    for _ in range(FAILURES_MAX):
        try:
            return await open_it()
        except (FencedError, UnusableLogError):
            raise
        except LogError as error:
            failed(error)
            await asyncio.sleep(OPENING_PAUSE_S)
    return await open_it()


async def keep_working(
    work: Callable[[], Awaitable[None]],
    begin_anew: Callable[[], Awaitable[None]],
    failed: Callable[[LogError], None],
    is_closing: Callable[[], bool],
) -> None:
    """Work until the work ends by itself; after an error of the log begin anew.

    Parameters
    ----------
    work
        Returns, or raises `ClosedError`, when nothing more is to be done.
    begin_anew
        Recovers, so that `work` can go on.
    failed
        Told of each error.
    is_closing
        Tells whether somebody else is to go on; then nothing is begun anew.

    Raises
    ------
    FencedError
        At once: somebody else owns what was worked on.
    UnusableLogError
        At once: a person has to mend something.
    LogError
        After too many errors, or when there is no beginning anew.
    """
    times: deque[float] = deque()
    while True:
        try:
            await work()
        except ClosedError:
            return
        except (FencedError, UnusableLogError):
            raise
        except LogError as error:
            failed(error)
            times.append(time.monotonic())
            while times[-1] - times[0] > FAILURE_SPAN_S:
                times.popleft()
            if len(times) > FAILURES_MAX:
                raise
            if is_closing():
                # The next owner may have opened already, and a writer of ours would fence it.
                return
            await begin_anew()
        else:
            return
