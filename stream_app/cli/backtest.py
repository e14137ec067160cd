"""`stream-app backtest`: replay an event log and report what the segments would have been."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stream_app.domain.errors import SettingsError

if TYPE_CHECKING:
    from stream_app.backtest.comparison.policies import ComparedPolicy
    from stream_app.backtest.comparison.run import ComparisonRun
    from stream_app.backtest.run import BacktestResult
    from stream_app.backtest.settings import BacktestSettings
    from stream_app.backtest.topic_log import TopicSource
    from stream_app.domain.policy import Policy


TOPIC_DEFAULT = "customer-events"


class Order(StrEnum):
    """In which order the events of a log count."""

    EVENT = "event"
    ARRIVAL = "arrival"


def backtest(
    *,
    events: list[str] = typer.Argument(
        ...,
        metavar="EVENTS...",
        help="Files or globs: CSV, JSON Lines, Parquet. Or one topic: kafka://host:9092/TOPIC, sqlite:PATH.",
    ),
    policy: list[Path] = typer.Option(
        [], help="Policy file; without it the default policy holds. Give it again to compare policies."
    ),
    out: Path = typer.Option(Path("backtest"), help="Folder for the results."),
    map_: list[str] = typer.Option([], "--map", metavar="FIELD=COLUMN", help="Where a field stands; can be repeated."),
    from_: str | None = typer.Option(None, "--from", metavar="D", help="Output begins here; state is built before."),
    to: str | None = typer.Option(None, metavar="D", help="Events at or after this time are left out."),
    order: Order | None = typer.Option(
        None, help="event: sort files by event time, as without it; arrival: take them as they are."
    ),
    topic: str | None = typer.Option(None, metavar="TOPIC", help="Topic of events on a log; default customer-events."),
    trust_partitioning: bool = typer.Option(
        False, "--trust-partitioning", help="Take records of a topic whose key is not their customer's id."
    ),
    tick: str = typer.Option("1h", help="Time between ticks; a divisor of a day."),
    sweep: str | None = typer.Option(None, help="How often everybody is re-scored; default: the policy's period."),
    score_every: str | None = typer.Option(None, help="Write everybody's scores this often, such as 28d."),
    score_from: str | None = typer.Option(None, metavar="D", help="First day on which scores are written."),
    compare: bool = typer.Option(False, "--compare", help="Also fit BG/NBD + Gamma-Gamma and LightGBM as yardsticks."),
    shards: int = typer.Option(1, help="Engines to spread customers over; changes no result."),
    save_state: Path | None = typer.Option(None, help="Save the state at the end, for another run to go on from."),
    load_state: Path | None = typer.Option(None, help="Go on from a saved state; events before its time are left out."),
    timezone: str | None = typer.Option(None, help="Zone of times without one, such as Europe/Berlin; default UTC."),
    delimiter: str | None = typer.Option(None, help="Delimiter of CSV files; recognised if not given."),
    decimal: str | None = typer.Option(None, help="Decimal mark of CSV files, . or ,; recognised if not given."),
) -> None:
    """Replay an event log: what the segments would have been, and what moved them."""
    import time

    from stream_app.backtest.settings import BacktestSettings
    from stream_app.cli.arguments import parse_mapping, parse_moment_ms, parse_span_ms

    chosen, compared = _policies(policy, sweep)
    source = _topic_source(events, topic, trusts_keys=trust_partitioning)
    if order is None:
        order = Order.EVENT if source is None else Order.ARRIVAL
    settings = BacktestSettings(
        patterns=tuple(events) if source is None else (),
        topic=source,
        policy=chosen,
        out=out,
        run_started_ms=int(time.time() * 1000),
        mapping=parse_mapping(map_),
        timezone=timezone,
        delimiter=delimiter,
        decimal=decimal,
        order=order.value,
        from_ms=parse_moment_ms("--from", from_, timezone),
        to_ms=parse_moment_ms("--to", to, timezone),
        tick_ms=parse_span_ms("--tick", tick),
        score_every_ms=None if score_every is None else parse_span_ms("--score-every", score_every),
        score_from_ms=parse_moment_ms("--score-from", score_from, None),
        shard_count=shards,
        save_state=save_state,
        load_state=load_state,
        is_compared=compare,
    )
    _run(settings, compared)


def _run(settings: BacktestSettings, compared: tuple[ComparedPolicy, ...]) -> None:
    from stream_app.backtest.comparison.run import run_comparison
    from stream_app.backtest.run import run_backtest
    from stream_app.cli.progress import show_progress

    if compared:
        _print_comparison(run_comparison(settings, compared, show_progress))
        return
    with show_progress() as progress:
        result = run_backtest(settings, progress)
    _print_result(result)


def _policies(paths: list[Path], sweep: str | None) -> tuple[Policy, tuple[ComparedPolicy, ...]]:
    """Give the policy that holds, and those that are compared; none of these where there is only one."""
    from stream_app.adapters.policy_file import load_policy
    from stream_app.backtest.comparison.policies import load_policies

    sweep_minutes = None if sweep is None else _sweep_minutes(sweep)
    if len(paths) > 1:
        compared = load_policies(paths, sweep_minutes)
        return compared[0].policy, compared
    chosen = load_policy(paths[0] if paths else None)
    return (chosen if sweep_minutes is None else chosen.with_sweep_period(sweep_minutes)), ()


def _topic_source(events: list[str], topic: str | None, *, trusts_keys: bool) -> TopicSource | None:
    """Give the topic that is named in place of files; None where files are named."""
    from stream_app.adapters.log.urls import is_log_url, parse_topic_url
    from stream_app.backtest.topic_log import TopicSource

    logs = [name for name in events if is_log_url(name)]
    if not logs:
        if topic is not None or trusts_keys:
            message = "--topic and --trust-partitioning speak of a topic, and files are named; drop them"
            raise SettingsError(message, code="invalid_backtest")
        return None
    if len(events) > 1:
        message = f"{logs[0]}: a topic is replayed alone; name nothing beside it"
        raise SettingsError(message, code="invalid_backtest")
    return TopicSource(parse_topic_url(logs[0], topic, TOPIC_DEFAULT), trusts_keys)


def _sweep_minutes(text: str) -> int:
    from stream_app.cli.arguments import parse_span_ms
    from stream_app.domain.events import MS_PER_MINUTE

    sweep_ms = parse_span_ms("--sweep", text)
    if sweep_ms % MS_PER_MINUTE:
        message = f"--sweep: {text}; take whole minutes, such as 1d or 7d"
        raise SettingsError(message, code="invalid_sweep_period")
    return sweep_ms // MS_PER_MINUTE


def _print_comparison(comparison: ComparisonRun) -> None:
    document = comparison.document
    for pair in document["pairs"]:
        for axis in pair["axes"]:
            if not axis["rated_under_both"]:
                typer.echo(f"{axis['axis']}: nobody has a tier under both {pair['first']} and {pair['second']}")
                continue
            way = "" if axis["higher"] is None else f": {axis['higher']:,} higher, {axis['lower']:,} lower"
            typer.echo(
                f"{axis['axis']}: {axis['differing']:,} of {axis['rated_under_both']:,} customers have another tier "
                f"under {pair['second']} than under {pair['first']}{way}"
            )
    for name, treatments in document["treatments"].items():
        typer.echo(f"human attention under {name}: {treatments['human_customers']['end']:,} customers at the end")
    for note in document["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {comparison.report}")


def _print_result(result: BacktestResult) -> None:
    from stream_app.backtest.summary import five_numbers

    numbers = five_numbers(result.summary)
    width = max(len(label) for label, _ in numbers)
    for label, value in numbers:
        typer.echo(f"{label:<{width}}  {value}")
    typer.echo(result.summary["rows"]["equation"])
    for note in result.summary["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {result.report}")
