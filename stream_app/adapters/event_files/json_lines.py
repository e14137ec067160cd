"""Rows of JSON Lines files: native events and Segment calls, or any other objects by a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, NoReturn

import orjson

from stream_app.adapters.codec.single_event import is_segment_call
from stream_app.adapters.event_files.byte_blocks import ByteBlocks
from stream_app.adapters.event_files.json_mapped import MappedJsonReader
from stream_app.adapters.event_files.json_native import NativeJsonReader
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.records import RecordSplitter
from stream_app.adapters.event_files.rows import ReadChunk
from stream_app.domain.errors import SettingsError

SAMPLE_LINES_MAX = 2000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_json_lines(blocks: ByteBlocks, normaliser: Normaliser) -> Iterator[ReadChunk]:
    """Read a JSON Lines file.

    Parameters
    ----------
    blocks
        Its bytes.
    normaliser
        Makes events of columns. Without a mapping, native events and Segment calls go through the codec, and
        other objects by well-known names of their fields.

    Raises
    ------
    SettingsError
        When the file is one JSON array, UTF-16, or empty, or when the fields cannot be found.
    """
    remaining = iter(blocks)
    first = next(remaining, b"")
    name = str(blocks.file.path)
    if first.startswith(_WIDE_MARKS):
        _fail(name, "is UTF-16 text; save it as UTF-8")
    first = first.removeprefix(_BYTE_ORDER_MARK)
    if not first.strip():
        _fail(name, "is empty, there is nothing to read; leave it out")
    sample = _sample(first)
    if _is_array(first, sample):
        _fail(name, "begins as one JSON array; write one object a line instead, as jq -c '.[]' does")
    reader: NativeJsonReader | MappedJsonReader
    if not normaliser.options.mapping and (not sample or any(map(_is_native, sample))):
        reader = NativeJsonReader(blocks.file.name, sample, normaliser)
    else:
        reader = MappedJsonReader(name, sample, normaliser)
    splitter = RecordSplitter(None)
    first_row = 1
    block = first
    for following in chain(remaining, [None]):
        records = splitter.split(block, is_last=following is None)
        if len(records):
            yield reader.chunk(records, first_row)
            first_row += len(records)
        block = b"" if following is None else following
    reader.finish()


def _sample(first: bytes) -> list[dict[str, Any]]:
    documents = []
    for line in first.split(b"\n", SAMPLE_LINES_MAX)[:SAMPLE_LINES_MAX]:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            documents.append(document)
    return documents


def _is_array(first: bytes, sample: list[dict[str, Any]]) -> bool:
    """Tell one array over many lines from lines of which the first happens to be an array."""
    start = first.lstrip()
    if not start.startswith(b"["):
        return False
    try:
        orjson.loads(start.partition(b"\n")[0])
    except orjson.JSONDecodeError:
        return True
    return not sample


def _is_native(document: dict[str, Any]) -> bool:
    return ("customer_id" in document and "occurred_at" in document) or is_segment_call(document)


def _fail(name: str, fault: str) -> NoReturn:
    message = f"{name}: {fault}"
    raise SettingsError(message, code="unreadable_event_file")
