"""The commands that check and show a policy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_app.domain.policy import AxisPolicy, Policy

policy_app = typer.Typer(help="Check and show policies: what people decide about segments.", no_args_is_help=True)


@policy_app.command("check")
def check(path: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.", show_default=False)]) -> None:
    """Say whether a policy is valid; if not, name every fault with its place, and exit with 2."""
    from stream_app.adapters.policy_file import default_document, load_policy, read_document
    from stream_app.domain.policy_defaults import parts_from_default

    policy = load_policy(path)
    for line in _describe(policy):
        typer.echo(line)
    inherited = parts_from_default(read_document(path), default_document())
    typer.echo(f"from default  {', '.join(inherited) or 'nothing'}")
    typer.echo("ok")


@policy_app.command("show")
def show(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The policy file; without it the default.", show_default=False),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, with the hashes.")] = False,
) -> None:
    """Print a policy in full, what it takes from the default included; without FILE the default with its comments."""
    from stream_app.adapters.policy_file import default_document, default_text, load_policy, read_document
    from stream_app.domain.policy_defaults import complete
    from stream_app.domain.policy_writing import write_policy

    policy = load_policy(path)
    document = default_document() if path is None else complete(read_document(path), default_document())
    if json:
        typer.echo(_to_json(policy, document))
    elif path is None:
        typer.echo(default_text(), nl=False)
    else:
        typer.echo(f"# content hash {policy.content_hash}, state hash {policy.state_hash}\n")
        typer.echo(write_policy(document), nl=False)


def _to_json(policy: Policy, document: dict[str, object]) -> str:
    import json

    hashes = {"content_hash": policy.content_hash, "state_hash": policy.state_hash}
    return json.dumps({**hashes, **document}, indent=2, ensure_ascii=False)


def _describe(policy: Policy) -> Sequence[str]:
    """Sum a policy up, a line each, labels aligned."""
    from stream_app.domain.durations import format_duration
    from stream_app.domain.events import MS_PER_MINUTE
    from stream_app.domain.policy_reading import show_value

    families = Counter(rule.family.name.lower() for rule in policy.event_rules.values())
    currencies = ", ".join(f"{currency} {rate:.15g}" for currency, rate in policy.currency_rates.items())
    return (
        f"name          {show_value(policy.name)}",
        f"content hash  {policy.content_hash}",
        f"state hash    {policy.state_hash}",
        *(f"axis          {_describe_axis(axis)}" for axis in policy.axes),
        f"treatments    {len(policy.treatment_rules)}",
        f"event types   {', '.join(f'{count} {family}' for family, count in families.items())}",
        f"currencies    {currencies}",
        f"sweep period  {format_duration(policy.sweep_period_minutes * MS_PER_MINUTE)}",
    )


def _describe_axis(axis: AxisPolicy) -> str:
    from stream_app.domain.durations import format_duration

    cuts = ", ".join(f"{cut:.15g}" for cut in axis.cuts)
    rise, fall = axis.margin
    margin = f"{rise:.15g}" if rise == fall else f"{rise:.15g} to rise, {fall:.15g} to fall"
    return (
        f"{axis.name}: {' < '.join(axis.tiers)}; {axis.cut_rule} {cuts}; margin {margin}, "
        f"confirmation {format_duration(axis.confirmation_ms)}"
    )
