"""The command line: commands are thin, import what they need when they run, and fail with one line."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from stream_app import __version__
from stream_app.adapters.log.errors import LogError
from stream_app.cli.backtest import backtest as backtest_command
from stream_app.cli.changes import changes as changes_command
from stream_app.cli.erase import erase as erase_command
from stream_app.cli.feed import feed as feed_command
from stream_app.cli.judge import judge as judge_command
from stream_app.cli.policy import policy_app
from stream_app.cli.produce import produce as produce_command
from stream_app.cli.rekey import rekey as rekey_command
from stream_app.cli.replay_journal import replay_journal as replay_journal_command
from stream_app.cli.run import run as run_command
from stream_app.cli.simulate import simulate as simulate_command
from stream_app.cli.state import state_app
from stream_app.cli.topics import topics_app
from stream_app.cli.web import web as web_command
from stream_app.cli.worker import worker as worker_command
from stream_app.domain.errors import StreamAppError

EXIT_USAGE = 2
"""Exit code for everything that the user can mend: arguments, policy, input files, stored state."""
EXIT_SIGNAL = 128
"""Exit code of a process that a signal ends, less the signal's number."""

app = typer.Typer(
    name="stream-app",
    help="Customer segments that follow behaviour, as it happens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"stream-app {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and exit.",
        is_eager=True,
        callback=lambda is_wanted: _print_version(is_wanted=is_wanted),
    ),
) -> None:
    """Turn customer events into segments that follow behaviour, as it happens."""


app.command("backtest")(backtest_command)
app.command("changes")(changes_command)
app.command("erase")(erase_command)
app.command("feed", hidden=True)(feed_command)
app.command("judge")(judge_command)
app.command("produce")(produce_command)
app.command("rekey")(rekey_command)
app.command("replay-journal")(replay_journal_command)
app.command("run")(run_command)
app.command("simulate")(simulate_command)
app.command("web")(web_command)
app.command("worker")(worker_command)
app.add_typer(policy_app, name="policy")
app.add_typer(state_app, name="state")
app.add_typer(topics_app, name="topics")


def _end(number: int, _frame: FrameType | None) -> None:
    """End like any other exit, so that unfinished and temporary files are removed."""
    sys.exit(EXIT_SIGNAL + number)


def main() -> None:
    """Run the command line; expected errors become one line each on standard error and exit code 2."""
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except (StreamAppError, LogError) as error:
        typer.echo(f"stream-app: {error}", err=True)
        for fault in getattr(error, "faults", ()):
            typer.echo(f"  {fault}", err=True)
        sys.exit(EXIT_USAGE)
