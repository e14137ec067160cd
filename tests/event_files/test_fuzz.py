"""Whatever bytes a file holds: rows add up, or one line says what is wrong."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.adapters.event_files import records
from stream_app.adapters.event_files.records import RecordSplitter
from stream_app.domain.errors import SettingsError
from tests.event_files.logs import read_log, write

HEADER = b"customer_id,occurred_at,amount,type\n"
PIECES = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"a",
    b" ",
    b"2024-05-01",
    b"1.5",
    b"\xff",
    b"\0",
    b"purchase",
    b"{",
    b"}",
    b":",
]
CONTENT = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=80).map(b"".join))


def read_or_refuse(path: Path) -> int | None:
    try:
        return read_log(path).counts.rows_read
    except SettingsError:
        return None


@given(content=CONTENT)
@example(content=b'"\n""\n')
@example(content=b"\r\r\n\r")
def test_any_bytes_as_a_log_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("raw.csv", "raw.tsv", "raw.jsonl", "raw.csv.gz", "raw.jsonl.zst"):
        read_or_refuse(write(folder / name, content))
    for name in ("broken.csv.gz", "broken.csv.zst", "broken.parquet"):
        (folder / name).write_bytes(content)
        assert read_or_refuse(folder / name) is None


@given(content=CONTENT)
def test_any_bytes_among_good_rows_do_not_lose_the_good_ones(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    good = b"first,2024-05-01,1,purchase\n"
    path = write(folder / "log.csv", HEADER + good + content + b"\n" + good * 3)
    outcome = read_log(path)
    assert outcome.events[0].customer_id == "first"
    last_row = outcome.counts.rows_read
    assert last_row in [event.source[1] for event in outcome.events]
    line = b'{"customer_id":"first","occurred_at":"2024-05-01T00:00:00Z","amount":1,"event_id":"1"}\n'
    outcome = read_log(write(folder / "log.jsonl", line + content + b"\n" + line))
    assert {1, outcome.counts.rows_read} <= {event.source[1] for event in outcome.events}


@given(
    content=CONTENT,
    cuts=st.lists(st.integers(0, 300), max_size=8),
    quoted=st.booleans(),
    limit=st.sampled_from([7, 40, 1000]),
)
def test_records_do_not_depend_on_where_the_blocks_are_cut(
    content: bytes, cuts: list[int], quoted: bool, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "RECORD_BYTES_MAX", limit)
        patch.setattr(records, "CUT_BYTES", 4)
        whole = split(content, [], quoted=quoted)
        assert split(content, sorted(cuts), quoted=quoted) == whole


def split(content: bytes, cuts: list[int], *, quoted: bool) -> list[tuple[bytes, str | None]]:
    splitter = RecordSplitter(b"," if quoted else None)
    told: list[tuple[bytes, str | None]] = []
    bounds = [0, *cuts, len(content)]
    blocks = [content[start:stop] for start, stop in pairwise(bounds)]
    for number, block in enumerate(blocks):
        found = splitter.split(block, is_last=number == len(blocks) - 1)
        bad = {record.index: record for record in found.bad}
        for index in range(len(found)):
            code = bad[index].code.value if index in bad else None
            told.append((b"" if code else found.raw_of(index), code))
    return told


CELL = st.text(st.sampled_from('ab",;\n\r é'), max_size=8)


@given(
    notes=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, notes: list[tuple[str, str]], quoting: Literal[0, 1], line_end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    writer.writerow(["note", "customer_id", "occurred_at", "amount"])
    writer.writerows([note, f"c{who}c", "2024-05-01", n] for n, (note, who) in enumerate(notes))
    outcome = read_log(write(tmp_path_factory.mktemp("fuzz") / "log.csv", text.getvalue()))
    assert [(event.customer_id, event.amount) for event in outcome.events] == [
        (f"c{who}c", float(n)) for n, (_, who) in enumerate(notes)
    ]
