"""Addresses of logs: `kafka://host:9092` for a cluster, `sqlite:///abs/path` or `sqlite:relative` for a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stream_app.domain.errors import SettingsError

_ALLOWED = "allowed are kafka://host:9092[,host2:9092], sqlite:///abs/path and sqlite:relative/path"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """A file that holds an embedded log.

    Parameters
    ----------
    path
        As it was written; relative ones start at the working folder.
    """

    path: Path

    def __str__(self) -> str:
        """Write it as it is given to commands."""
        return f"sqlite://{self.path}" if self.path.is_absolute() else f"sqlite:{self.path}"

    @property
    def broker_url(self) -> str:
        """The same for Faust: absolute, and with everything quoted that means something in an address."""
        return f"sqlite://{quote(str(self.path.absolute()))}"


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """A Kafka cluster.

    Parameters
    ----------
    hosts
        `host:port` of brokers to begin with, at least one.
    """

    hosts: tuple[str, ...]

    def __str__(self) -> str:
        """Write it as it is given to commands."""
        return f"kafka://{self.bootstrap}"

    @property
    def bootstrap(self) -> str:
        """The hosts as Kafka's clients take them."""
        return ",".join(self.hosts)


LogUrl = SqliteUrl | KafkaUrl


def parse_log_url(text: str) -> LogUrl:
    """Read the address of a log.

    Parameters
    ----------
    text
        Paths are taken as they are: `%`, `?` and `#` mean nothing in them.

    Returns
    -------
    LogUrl

    Raises
    ------
    SettingsError
        When it is in another form; the message says what to write.

    Examples
    --------
    >>> parse_log_url("sqlite:shop.log").path
    PosixPath('shop.log')
    >>> parse_log_url("kafka://one:9092,two:9092").bootstrap
    'one:9092,two:9092'
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "sqlite":
        return _sqlite(text, rest)
    if colon and scheme == "kafka":
        return _kafka(text, rest)
    raise _refused(text, "")


def _sqlite(text: str, rest: str) -> SqliteUrl:
    if "\0" in rest:
        raise _refused(text, "a path has no NUL in it")
    if rest.startswith("///"):
        path = rest[2:]
    elif rest.startswith("//"):
        raise _refused(text, f"write sqlite:{rest[2:]} for a relative path, or sqlite:///... for an absolute one")
    elif rest.startswith("/"):
        raise _refused(text, f"write sqlite://{rest}")
    else:
        path = rest
    if path.endswith("/") or path in {"", ".", ".."}:
        raise _refused(text, "name a file, not a folder")
    if path.startswith(":"):
        raise _refused(text, "a log that is only in memory cannot be shared by processes: name a file")
    return SqliteUrl(Path(path))


def _kafka(text: str, rest: str) -> KafkaUrl:
    if not rest.startswith("//"):
        raise _refused(text, f"write kafka://{rest.lstrip('/') or 'host:9092'}")
    hosts = rest[2:].removesuffix("/").split(",")
    if any("@" in host for host in hosts):
        # The text is not told: a password may stand in it.
        message = f"the address of the log has a user in it; write kafka://host:9092 ({_ALLOWED})"
        raise SettingsError(message, code="invalid_log_url")
    for host in hosts:
        if _HOST.fullmatch(host) is None or not 0 < int(host.rpartition(":")[2]) <= _PORT_MAX:
            bare = host.partition("/")[0].partition(":")[0] or "host"
            raise _refused(text, f"{host!r} is no host:port; write kafka://{bare}:9092")
    return KafkaUrl(tuple(hosts))


def _refused(text: str, advice: str) -> SettingsError:
    message = f"log {text!r} cannot be used: {advice or 'it names no kind of log'} ({_ALLOWED})"
    return SettingsError(message, code="invalid_log_url")
