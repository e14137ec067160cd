"""The process around a Faust app: how it ends, and with which exit code."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any, NoReturn

import faust

from stream_app.adapters.interpreter import search_less_for_cycles

logger = logging.getLogger(__name__)


class Ending:
    """How the process has to end, once somebody has said so."""

    def __init__(self) -> None:
        self.code = 0
        self.reason = ""
        self._is_called = False
        self._worker: HostWorker | None = None

    def watch(self, worker: HostWorker) -> None:
        """Know whom to stop."""
        self._worker = worker
        if self._is_called:
            worker.stop_soon()

    def call(self, code: int, reason: str) -> None:
        """End the process in an orderly way; the first caller's code counts.

        Parameters
        ----------
        code
            Exit code.
        reason
            For the operator.
        """
        if self._is_called:
            return
        self._is_called, self.code, self.reason = True, int(code), reason
        # The reason is said at the very end, once.
        logger.info("worker ends code=%s reason=%s", int(code), reason)
        if self._worker is not None:
            self._worker.stop_soon()


class HostWorker(faust.Worker):
    """Faust's worker, which ends with the code that the app asks for."""

    app: Any

    async def on_start(self) -> None:
        """Let the app end this process, and look for cycles more seldom, leaving out what stays for good."""
        search_less_for_cycles()
        await super().on_start()
        self.app.ending.watch(self)

    def stop_soon(self) -> None:
        """Do as if a SIGTERM had come: finish the batch, close, leave the group."""
        self._schedule_shutdown(signal.SIGTERM)

    def execute_from_commandline(self) -> NoReturn:
        """Run until the end."""
        try:
            super().execute_from_commandline()
        except SystemExit as end:
            code = self.app.ending.code or end.code
        else:
            code = self.app.ending.code
        if self.app.ending.reason:
            # Behind all that the libraries log while they stop, where whoever has started this looks first.
            print(f"stream-app: {self.app.ending.reason}", file=sys.stderr, flush=True)
        raise SystemExit(code)

    def _setup_logging(self) -> None:
        """Log what the settings of the process say; Faust's own set-up leaves the root logger at DEBUG."""
        if self.app.sets_up_logging:
            quiet_clients(self.loglevel)
            return
        super()._setup_logging()
        quiet_clients(self.loglevel)


def quiet_clients(level: Any) -> None:
    """Set the levels of the libraries' loggers: three records per event at DEBUG cost a quarter of the throughput."""
    threshold = logging.getLevelName(str(level or "WARNING").upper())
    if not isinstance(threshold, int):
        threshold = logging.WARNING
    for name in ("aiokafka", "faust", "kafka", "mode"):
        logging.getLogger(name).setLevel(max(threshold, logging.INFO))
