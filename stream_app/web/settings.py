"""Settings of the web server: where it listens, who may read, and how much anybody may ask for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from stream_app.domain.errors import SettingsError

TOKEN_BYTES = 32
TOKENS_MAX = 1000
_HASH = re.compile(r"[0-9a-f]{64}")
_FILE_BYTES_MAX = 1_000_000


class Role(StrEnum):
    """What a token allows."""

    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is accepted, known by its hash alone.

    Parameters
    ----------
    role
        What it allows; administration includes reading.
    sha256
        Its SHA-256 as 64 hex digits.
    """

    role: Role
    sha256: str


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the API behaves.

    Parameters
    ----------
    host, port
        Where it listens.
    tokens
        Who may use it; none: everybody who reaches it, which only a loopback address may allow.
    requests_per_second
        Sustained rate of one client; twice as many may come at once.
    streams_max, streams_per_client
        Most event streams open at a time, in all and for one client.
    body_bytes_max, target_bytes_max
        Largest body and longest request target.
    heartbeat_seconds
        Time between signs of life of an event stream.

    Raises
    ------
    SettingsError
        With every fault that was found.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[Token, ...] = ()
    requests_per_second: float = 2000.0
    streams_max: int = 200
    streams_per_client: int = 20
    body_bytes_max: int = 65_536
    target_bytes_max: int = 8_192
    heartbeat_seconds: float = 15.0

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.port <= 65_535:
            faults.append(f"--port: {self.port}; take 1 to 65535, or 0 for any that is free")
        if not self.is_loopback and not self.tokens:
            faults.append(
                f"--host: {self.host} can be reached from other machines, so tokens are needed; name a file of their "
                "hashes with --tokens-file, or listen on 127.0.0.1"
            )
        if faults:
            message = "the web server's settings are wrong"
            raise SettingsError(message, code="invalid_web_settings", faults=tuple(faults))

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def hash_token(token: str) -> str:
    """Give the hash by which a token is known."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a file of tokens: `read HASH` or `admin HASH` on each line; empty lines and `# ...` do not count.

    Raises
    ------
    SettingsError
        When it cannot be read or a line is wrong; the message names lines, never their content.
    """
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            message = f"--tokens-file: {path} is larger than {_FILE_BYTES_MAX:,} bytes; name a file of token hashes"
            raise SettingsError(message, code="unreadable_tokens")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        message = f"--tokens-file: {path} cannot be read ({reason}); name a file of token hashes"
        raise SettingsError(message, code="unreadable_tokens") from error
    tokens, faults = [], []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in list(Role) or not _HASH.fullmatch(words[1].lower()):
            faults.append(f"{path}:{number}: write `read` or `admin` and the SHA-256 of the token as 64 hex digits")
            continue
        tokens.append(Token(Role(words[0]), words[1].lower()))
    if not tokens and not faults:
        faults.append(f"{path}: no token in it; `stream-app web --new-token read` makes one")
    if len(tokens) > TOKENS_MAX:
        faults.append(f"{path}: {len(tokens):,} tokens, allowed are {TOKENS_MAX:,}; take some out")
    if faults:
        message = "--tokens-file: the file has faults"
        raise SettingsError(message, code="invalid_tokens", faults=tuple(faults[:20]))
    return tuple(tokens)
