"""How often a process that ends may be started again, and how long to wait before it."""

from __future__ import annotations

from collections import deque


class RestartLimit:
    """Counts the unexpected ends of one process; pure, time is an argument in seconds.

    Parameters
    ----------
    ends_max
        With more ends than this within the window, it is given up.
    window_seconds
        Length of the window.
    delay_seconds
        Wait before the first restart; it doubles with each end in the window.
    delay_seconds_max
        Longest wait.

    Examples
    --------
    >>> limit = RestartLimit(ends_max=2, window_seconds=60.0)
    >>> [limit.delay(0.0), limit.delay(1.0), limit.delay(2.0), limit.delay(120.0)]
    [0.2, 0.4, None, 0.2]
    """

    def __init__(
        self,
        *,
        ends_max: int = 5,
        window_seconds: float = 60.0,
        delay_seconds: float = 0.2,
        delay_seconds_max: float = 5.0,
    ) -> None:
        self.ends_max = ends_max
        self.window_seconds = window_seconds
        self._delay_seconds = delay_seconds
        self._delay_seconds_max = delay_seconds_max
        self._ends: deque[float] = deque()

    def delay(self, now_seconds: float) -> float | None:
        """Note an end, and say how long to wait before the process is started again; None: not again."""
        while self._ends and self._ends[0] <= now_seconds - self.window_seconds:
            self._ends.popleft()
        self._ends.append(now_seconds)
        if len(self._ends) > self.ends_max:
            return None
        return float(min(self._delay_seconds * 2 ** (len(self._ends) - 1), self._delay_seconds_max))
