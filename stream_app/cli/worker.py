"""The command that runs a worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def worker(
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="URL", help="kafka://host:9092, sqlite:///abs/path or sqlite:relative."),
    ] = None,
    app: Annotated[str | None, typer.Option("--app", metavar="NAME", help="Name of the application.")] = None,
    events: Annotated[str | None, typer.Option("--events", metavar="TOPIC", help="Topic of customer events.")] = None,
    *,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file; without it the default.")] = None,
    ticks: Annotated[
        str | None, typer.Option("--ticks", metavar="wall|none", help="Whether time passes by the wall clock.")
    ] = None,
    trust_partitioning: Annotated[
        bool | None,
        typer.Option("--trust-partitioning", help="Take records whose key is not their customer's id."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", help="Port of /metrics and /readyz; 0: a free one.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Segment customers as their events come; every option has a variable, such as STREAM_APP_LOG for --log.

    Exit codes: 0 after SIGTERM; 2 when settings, topics or stored state do not fit; 70 when the log failed too often,
    and a supervisor may start it again; 1 after a defect.
    """
    given = {
        "LOG": log,
        "APP": app,
        "EVENTS": events,
        "POLICY": policy,
        "TICKS": ticks,
        "TRUST_PARTITIONING": trust_partitioning,
        "METRICS_PORT": metrics_port,
        "LOG_LEVEL": log_level,
    }
    # The worker is built from the environment, as it is for those who start it with Faust's own command.
    os.environ.update({f"STREAM_APP_{name}": str(value) for name, value in given.items() if value is not None})
    from stream_app.worker import app as faust_app
    from stream_app.worker import settings

    faust_app.finalize()
    faust_app.Worker(loglevel=settings.log_level).execute_from_commandline()
