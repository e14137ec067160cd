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
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


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


@dataclass(frozen=True, slots=True)
class TopicUrl:
    """A topic of a log.

    Parameters
    ----------
    log
        Where it is.
    topic
        Its name.
    """

    log: LogUrl
    topic: str

    def __str__(self) -> str:
        """Write it so that people recognise it."""
        return f"{self.log}/{self.topic}" if isinstance(self.log, KafkaUrl) else f"{self.log} ({self.topic})"


def is_log_url(text: str) -> bool:
    """Tell the address of a log from the name of a file; `./sqlite:x` names a file."""
    return text.startswith(("kafka:", "sqlite:"))


def parse_topic_url(text: str, topic: str | None, default: str) -> TopicUrl:
    """Read the address of a topic: that of its log, with the topic behind it on Kafka.

    Parameters
    ----------
    text
        `kafka://host:9092/TOPIC`, or the address of a log.
    topic
        The topic, where it is named apart.
    default
        The topic where none is named.

    Raises
    ------
    SettingsError
        When it is in another form, or two different topics are named.

    Examples
    --------
    >>> parse_topic_url("kafka://one:9092,two:9092/sales", None, "customer-events").topic
    'sales'
    >>> str(parse_topic_url("sqlite:shop.log", None, "customer-events"))
    'sqlite:shop.log (customer-events)'
    """
    named = ""
    if text.startswith("kafka://"):
        hosts, _, named = text[len("kafka://") :].partition("/")
        named = named.removesuffix("/")
        text = f"kafka://{hosts}"
    log = parse_log_url(text)
    chosen = named or topic or default
    if topic is not None and topic != chosen:
        message = f"two topics are named, {chosen} behind the address and {topic} by --topic; name one"
        raise SettingsError(message, code="invalid_log_url")
    if _TOPIC.fullmatch(chosen) is None:
        message = f"topic {chosen!r} cannot be: letters, digits, `.`, `_` and `-` are allowed, at most 249; correct it"
        raise SettingsError(message, code="invalid_log_url")
    return TopicUrl(log, chosen)


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
