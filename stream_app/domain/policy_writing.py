"""A policy's document as TOML text, in full."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stream_app.domain.policy_parsing import SECTIONS
from stream_app.domain.policy_reading import join_path

_INLINE_TABLES_IN = ("events.types",)


def write_policy(document: Mapping[str, object]) -> str:
    """Write a complete document that `parse_policy` has accepted.

    Parameters
    ----------
    document
        See `policy_defaults.complete`.

    Returns
    -------
    str
        TOML without comments; parsed again, it makes the same policy.
    """
    return "\n".join(_write_section(name, document[name]) for name in SECTIONS)


def _write_section(path: str, value: object) -> str:
    if isinstance(value, Mapping):
        return _write_table(path, value)
    tables = value if isinstance(value, (list, tuple)) else ()
    return "\n".join(f"[[{path}]]\n{_write_keys(table)}" for table in tables)


def _write_table(path: str, table: Mapping[str, object]) -> str:
    """Write a table's own keys, then its sub-tables, as TOML requires."""
    is_inline = path in _INLINE_TABLES_IN
    subtables = {key: value for key, value in table.items() if isinstance(value, Mapping) and not is_inline}
    own = {key: value for key, value in table.items() if key not in subtables}
    parts = [f"[{path}]\n{_write_keys(own)}"] if own or not subtables else []
    parts.extend(_write_table(join_path(path, key), value) for key, value in subtables.items())
    return "\n".join(parts)


def _write_keys(table: Mapping[str, object]) -> str:
    return "".join(f"{join_path('', key)} = {_write_value(value)}\n" for key, value in table.items())


def _write_value(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{join_path('', key)} = {_write_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_write_value, value))}]"
    # The escapes of JSON are escapes of TOML, too, and so are its numbers and booleans.
    return json.dumps(value, ensure_ascii=False)
