"""Segment changes as lines for people: what happened to whom, why, and what to do."""

from __future__ import annotations

import json
from typing import Any

import orjson

_NOBODY = "new"


def change_line(record: bytes) -> str:
    r"""Write a segment change as one line.

    Parameters
    ----------
    record
        As it stands on the topic; see `schemas/segment_changed.v1.json`.

    Returns
    -------
    str
        Without a line break or any other control character, whatever a customer's id holds.

    Examples
    --------
    >>> change_line(
    ...     b'{"customer_id":"c-1","axis":"value","from_tier":"small","to_tier":"big","cause":"event",'
    ...     b'"segment":{"value":"big","growth":"steady"},"reasons":[{"text":"spent about 230 USD"}],'
    ...     b'"treatment":{"channel":"human","action":"Call."},"effective_at":"2024-05-01T12:30:00.250Z"}'
    ... )
    '2024-05-01 12:30:00  c-1  value: small -> big (event)  [big, steady]  spent about 230 USD  => human: Call.'
    """
    try:
        change = orjson.loads(record)
        line = _line(change)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        line = f"no segment change of this version: {record[:200]!r}"
    return _printable(line)


def _line(change: dict[str, Any]) -> str:
    moment = str(change["effective_at"])[:19].replace("T", " ")
    tiers = f"{change['axis']}: {change['from_tier'] or _NOBODY} -> {change['to_tier']}"
    segment = ", ".join(map(str, change["segment"].values()))
    reasons = change["reasons"]
    parts = [
        moment,
        str(change["customer_id"]),
        f"{tiers} ({change['cause']})",
        f"[{segment}]",
        *([str(reasons[0]["text"])] if reasons else []),
        f"=> {change['treatment']['channel']}: {change['treatment']['action']}",
    ]
    return "  ".join(parts)


def change_json(record: bytes) -> str:
    """Write a segment change as it stands on the topic; characters that no terminal shows are escaped.

    What is no JSON at all becomes a JSON text, so that a reader of lines never stumbles.
    """
    text = record.decode(errors="replace")
    try:
        document = orjson.loads(record)
    except orjson.JSONDecodeError:
        document, text = text, ""
    return text if text and text.isprintable() else json.dumps(document, separators=(",", ":"))


def _printable(text: str) -> str:
    """Show what would move the cursor or colour the terminal instead of doing it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
