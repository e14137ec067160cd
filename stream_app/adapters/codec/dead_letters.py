"""Refused records to bytes: the record as it came, why it was refused, and where it came from."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from hashlib import sha256

import orjson

from stream_app.domain.refusals import Refusal

DEAD_LETTER_RAW_BYTES_MAX = 256 * 1024
"""How much of a refused record is kept; its hash is that of the whole."""

_UTF8_REST_MAX = 3


def encode_dead_letter(
    raw: bytes, *, code: Refusal, message: str, source: Mapping[str, object], is_cut: bool = False
) -> bytes:
    """Write a refused record as `dead_letter.v1`.

    Parameters
    ----------
    raw
        The record as it came, or its beginning.
    code
        The reason code.
    message
        The reason in words.
    source
        `topic, partition, offset`, or `file, row`.
    is_cut
        True when `raw` is the beginning of a record that nobody has kept whole: its length and hash are not known.

    Returns
    -------
    bytes
        JSON in UTF-8 without a line end. What is kept of the record is text where that loses nothing, else base64.
    """
    kept = raw[:DEAD_LETTER_RAW_BYTES_MAX]
    is_truncated = is_cut or len(kept) < len(raw)
    content = _text_of(kept, is_cut=is_truncated)
    return orjson.dumps(
        {
            "reason": code.value,
            "message": message.encode("utf-8", "replace").decode(),
            "source": source,
            **({"raw_base64": base64.b64encode(kept).decode()} if content is None else {"raw": content}),
            "raw_length_bytes": None if is_cut else len(raw),
            "raw_sha256": None if is_cut else sha256(raw).hexdigest(),
            "is_truncated": is_truncated,
        }
    )


def _text_of(kept: bytes, *, is_cut: bool) -> str | None:
    """Read UTF-8, without the character that the cut went through; None when it is something else."""
    try:
        return kept.decode()
    except UnicodeDecodeError as error:
        if is_cut and error.reason == "unexpected end of data" and len(kept) - error.start <= _UTF8_REST_MAX:
            return kept[: error.start].decode()
    return None
