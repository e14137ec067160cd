"""`stream-app web`: serve the live page and the HTTP API over the topics of an application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stream_app.cli.topics import AppOption, EventsOption

if TYPE_CHECKING:
    from stream_app.web.settings import Role


def web(
    *,
    log: str | None = typer.Option(
        None, envvar="STREAM_APP_LOG", metavar="URL", help="kafka://host:9092, sqlite:///abs/path or sqlite:relative."
    ),
    app: AppOption = "segments",
    events: EventsOption = "customer-events",
    policy: Path | None = typer.Option(None, help="The worker's policy; without it the default policy holds."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; other than loopback needs --tokens-file."),
    port: int = typer.Option(8000, help="Port to listen on; 0 takes any that is free."),
    tokens_file: Path | None = typer.Option(None, help="Who may read or administer: `read HASH`, `admin HASH` lines."),
    history: Path | None = typer.Option(None, help="File of the change history; it can be made anew from the topics."),
    access_log: bool = typer.Option(False, "--access-log", help="Log every request: method, route, status, time."),
    new_token: str | None = typer.Option(None, metavar="ROLE", help="Make a token, `read` or `admin`, and exit."),
) -> None:
    """Serve the live page and the HTTP API."""
    if new_token is not None:
        _make_token(new_token)
        return
    from stream_app.adapters.log.opening import open_log
    from stream_app.adapters.log.topics import Topics
    from stream_app.adapters.policy_file import load_policy
    from stream_app.domain.errors import SettingsError
    from stream_app.web.read_model import ReadModel
    from stream_app.web.serving import bind, following_api, serve
    from stream_app.web.settings import WebSettings, read_tokens

    if log is None:
        message = "--log: missing; name the log, such as --log kafka://localhost:9092 or --log sqlite:shop.db"
        raise SettingsError(message, code="missing_log")
    tokens = () if tokens_file is None else read_tokens(tokens_file)
    settings = WebSettings(host=host, port=port, tokens=tokens)
    client = open_log(log, app)
    chosen = load_policy(policy)
    bound = bind(settings)
    path = Path(".stream-app") / f"{app}-history.sqlite" if history is None else history
    model = ReadModel(chosen, Topics(app, events), path, log)
    _start_logging(logs_requests=access_log)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"http://{shown}:{bound.getsockname()[1]}/")
    serve(following_api(model, settings, client), bound)


def _make_token(role: str) -> None:
    import secrets

    from stream_app.web.settings import TOKEN_BYTES, hash_token

    chosen = _role(role)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    typer.echo(f"token, for whoever is to use it: {token}")
    typer.echo(f"line for --tokens-file:           {chosen} {hash_token(token)}")


def _role(text: str) -> Role:
    from stream_app.domain.errors import SettingsError
    from stream_app.web.settings import Role

    try:
        return Role(text)
    except ValueError:
        message = f"--new-token: {text!r}, allowed are {' and '.join(Role)}; choose one"
        raise SettingsError(message, code="invalid_role") from None


def _start_logging(*, logs_requests: bool) -> None:
    import logging
    import sys

    from stream_app.web.access import REQUEST_LOGGER

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )
    # That it starts and ends is said on standard output, and by its exit code.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    if logs_requests:
        logging.getLogger(REQUEST_LOGGER).setLevel(logging.DEBUG)
