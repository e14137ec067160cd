"""Settings of the worker, from the environment: `STREAM_APP_LOG`, `STREAM_APP_APP` and so on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import LogUrl, parse_log_url
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.errors import SettingsError
from stream_app.streaming.hosting import WorkerOptions

PREFIX: Final = "STREAM_APP_"
NAME_LENGTH_MAX: Final = 200
"""Kafka takes 249 characters, and our topics add up to 20 to the application's name."""
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None or len(name) > NAME_LENGTH_MAX or name in (".", ".."):
        message = f"{name!r} is no name of a topic: at most {NAME_LENGTH_MAX} letters, digits, '.', '_' and '-' are"
        raise ValueError(message)
    return name


def _checked_url(text: str) -> str:
    try:
        parse_log_url(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return text


Name = Annotated[str, AfterValidator(_checked_name)]


class WorkerSettings(BaseSettings):
    """What an operator decides about a worker, each by a variable of the environment.

    Parameters
    ----------
    log
        `kafka://host:9092[,host2:9092]`, `sqlite:///abs/path` or `sqlite:relative`.
    app
        Name of the application: of its topics, its group and its transactions.
    events
        Topic of customer events.
    policy
        Policy file; without it the default policy.
    ticks
        `wall`: time passes by the wall clock; `none`: only by what stands in the topics.
    trust_partitioning
        True: a record's key need not be its customer's id.
    metrics_host, metrics_port
        Where `/metrics`, `/livez` and `/readyz` are served; without a port nowhere, with port 0 at a free one.
    log_level
        Of the worker's own log lines.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    log: Annotated[str, AfterValidator(_checked_url)]
    app: Name = "segments"
    events: Name = "customer-events"
    policy: Path | None = None
    ticks: Literal["wall", "none"] = "wall"
    trust_partitioning: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int | None, Field(ge=0, le=65535)] = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def url(self) -> LogUrl:
        """Of the log."""
        return parse_log_url(self.log)

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics(self.app, self.events)

    def options(self, *, sets_up_logging: bool = False) -> WorkerOptions:
        """Give what a worker is built of.

        Parameters
        ----------
        sets_up_logging
            True: logging is set up already, and Faust has to leave it alone.

        Raises
        ------
        SettingsError
            When the policy cannot be read.
        """
        return WorkerOptions(
            self.url,
            self.topics,
            load_policy(self.policy),
            ticks_by_wall_clock=self.ticks == "wall",
            trusts_keys=self.trust_partitioning,
            metrics_host=self.metrics_host,
            metrics_port=self.metrics_port,
            sets_up_logging=sets_up_logging,
        )


def read_settings() -> WorkerSettings:
    """Read the settings from the environment.

    Raises
    ------
    SettingsError
        With all faults, each beginning with the variable that it is in.
    """
    try:
        settings = WorkerSettings()  # type: ignore[call-arg]
    except ValidationError as error:
        faults = tuple(
            f"{PREFIX}{str(fault['loc'][0]).upper()}: {_told(fault['type'], fault['msg'], fault.get('input'))}"
            for fault in error.errors(include_url=False)
        )
        message = "the settings in the environment cannot be used"
        raise SettingsError(message, faults=faults) from None
    own = settings.topics.rules()
    if settings.events in own:
        message = f"{PREFIX}EVENTS: {settings.events!r} is a topic of the application itself; name the topic of events"
        raise SettingsError(message)
    return settings


def _told(kind: str, message: str, value: object) -> str:
    if kind == "missing":
        return "it is not set; give the address of the log, such as kafka://127.0.0.1:9092 or sqlite:shop.log"
    text = message.removeprefix("Value error, ")
    return text if kind == "value_error" else f"{text}, not {value!r}"
