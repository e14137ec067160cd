"""Policy files: the default that ships in the package, and those of owners."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy
from stream_app.domain.policy_defaults import complete
from stream_app.domain.policy_parsing import parse_policy

POLICY_BYTES_MAX = 1_000_000
"""Largest policy file; a real one has some ten thousand bytes."""


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
        When the file cannot be read or is no TOML (code `unreadable_policy`), or has faults (code `invalid_policy`), all of
        which are in `faults`.
    """
    if path is None:
        return parse_policy(default_document())
    return parse_policy(read_document(path))


def default_text() -> str:
    """Give the default policy with its comments."""
    return files("stream_app").joinpath("policy.toml").read_text(encoding="utf-8")


def default_document() -> dict[str, object]:
    """Give the default policy as parsed."""
    return tomllib.loads(default_text())


def read_document(path: Path) -> dict[str, object]:
    """Thin."""
    return complete(tomllib.loads(path.read_text(encoding="utf-8")), default_document())
