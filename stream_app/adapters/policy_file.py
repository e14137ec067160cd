"""Policy files: the default that ships in the package, and those of owners."""

from __future__ import annotations

import tomllib
from codecs import BOM_UTF8
from importlib.resources import files
from pathlib import Path

from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy
from stream_app.domain.policy_defaults import complete
from stream_app.domain.policy_parsing import parse_policy
from stream_app.domain.scores import SCORES

POLICY_BYTES_MAX = 1_000_000
"""Largest policy file; the default has some ten thousand bytes."""

_START = "`stream-app policy show > policy.toml` makes one to start from"


def load_policy(path: Path | None) -> Policy:
    """Read a policy file; what it leaves out is as in the default policy.

    Parameters
    ----------
    path
        The file; None for the default policy.

    Returns
    -------
    Policy

    Raises
    ------
    SettingsError
        When the file cannot be read or is no TOML (code `unreadable_policy`), or has faults (code `invalid_policy`),
        all of which are in `faults`.
    """
    if path is None:
        return parse_policy(default_document(), score_names=SCORES)
    document = complete(read_document(path), default_document())
    try:
        return parse_policy(document, score_names=SCORES)
    except SettingsError as error:
        message = f"{path}: {error}"
        raise SettingsError(message, code=error.code, faults=error.faults) from None


def default_text() -> str:
    """Give the default policy with its comments."""
    return files("stream_app").joinpath("policy.toml").read_text(encoding="utf-8")


def default_document() -> dict[str, object]:
    """Give the default policy as a TOML parser gives it."""
    return tomllib.loads(default_text())


def read_document(path: Path) -> dict[str, object]:
    """Read an owner's policy file as it is, without the default.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict[str, object]
        What the TOML parser gives; nothing in it has been checked.

    Raises
    ------
    SettingsError
        With code `unreadable_policy`, in one line.
    """
    # Editors on Windows may put a byte order mark first, which the parser does not know.
    content = _read_bytes(path).removeprefix(BOM_UTF8)
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"{path}: line {line:,} is not UTF-8; a policy is UTF-8 text; save it in that encoding"
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: no TOML: {error}; correct that place"
    except ValueError as error:
        message = f"{path}: no TOML: {error}; correct that value"
    except RecursionError:
        message = f"{path}: values are nested too deeply; a policy has at most five levels; take some out"
    raise SettingsError(message, code="unreadable_policy")


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(POLICY_BYTES_MAX + 1)
    except FileNotFoundError:
        message = f"{path}: no such file; name an existing policy file, or leave it out for the default; {_START}"
    except IsADirectoryError:
        message = f"{path}: is a directory; name a policy file; {_START}"
    except PermissionError:
        message = f"{path}: may not be read; give this user the right to read it"
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read: {error}; name a policy file; {_START}"
    else:
        if len(content) <= POLICY_BYTES_MAX:
            return content
        message = f"{path}: more than {POLICY_BYTES_MAX:,} bytes; no policy is that large; name a policy file; {_START}"
    raise SettingsError(message, code="unreadable_policy")
