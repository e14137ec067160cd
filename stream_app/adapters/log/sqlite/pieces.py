"""Cutting what is appended into transactions of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.log.topics import TRANSACTION_BYTES_MAX


def transactions_of(outgoing: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut columns of records into transactions.

    Parameters
    ----------
    outgoing
        Any number of records.

    Yields
    ------
    list[Outgoing]
        In order, each with at most `TRANSACTION_BYTES_MAX` bytes of values, or with a single record.
    """
    piece: list[Outgoing] = []
    size_sum = 0
    for columns in outgoing:
        start = 0
        for place, value in enumerate(columns.values):
            size = 0 if value is None else len(value)
            if size_sum + size > TRANSACTION_BYTES_MAX and size_sum:
                piece += [_rows(columns, start, place)] if place > start else []
                yield piece
                piece, start, size_sum = [], place, 0
            size_sum += size
        piece.append(_rows(columns, start, len(columns)))
    if piece:
        yield piece


def _rows(columns: Outgoing, start: int, end: int) -> Outgoing:
    if start == 0 and end == len(columns):
        return columns
    rows = slice(start, end)
    return replace(
        columns,
        values=columns.values[rows],
        keys=None if columns.keys is None else columns.keys[rows],
        headers=None if columns.headers is None else columns.headers[rows],
        timestamps_ms=None if columns.timestamps_ms is None else columns.timestamps_ms[rows],
    )
