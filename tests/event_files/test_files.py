"""Files that cannot be used stop the run with one line that says what to do, and leave nothing behind."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.domain.errors import SettingsError
from tests.event_files.logs import open_log, read_log, write

HEADER = "customer_id,occurred_at,amount\n"
ROW = "c,2024-05-01,1\n"


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fault_of(paths: Any, **options: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        open_log(paths, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


PARQUET = parquet_bytes(
    pa.table({"customer_id": ["c"] * 50_000, "occurred_at": list(range(50_000)), "amount": [1.0] * 50_000})
)
COMPRESSED = gzip.compress((HEADER + "".join(f"c{n},2024-05-01,{n * 7919 % 10007}\n" for n in range(50_000))).encode())

UNUSABLE: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "is empty"),
    ("blank.csv", b"\n \r\n\n", "nothing to read"),
    ("mark.csv", b"\xef\xbb\xbf", "nothing to read"),
    ("empty.jsonl", b"", "is empty"),
    ("blank.jsonl", b"\n\n", "nothing to read"),
    ("empty.csv.gz", gzip.compress(b""), "is empty"),
    ("header.csv", HEADER.encode(), "no events: there is no data row"),
    ("wide.csv", (HEADER + ROW).encode("utf-16"), "save it as UTF-8"),
    ("wide.jsonl", "{}".encode("utf-16"), "save it as UTF-8"),
    ("array.jsonl", b'[\n{"customer_id": 1},\n{"customer_id": 2}\n]', "one object a line"),
    ("cut.csv.gz", COMPRESSED[: len(COMPRESSED) // 2], "broken or cut off after"),
    ("tail.csv.gz", COMPRESSED[:-4], "broken or cut off after 50000|broken or cut off after"),
    ("wrong.csv.gz", (HEADER + ROW).encode(), "does not hold gzip data"),
    ("wrong.csv.zst", COMPRESSED, "does not hold Zstandard data"),
    ("wrong.csv", COMPRESSED, "holds gzip data"),
    ("book.csv", b"PK\x03\x04rest", "Excel"),
    ("cut.parquet", PARQUET[: len(PARQUET) // 2], "broken or cut off"),
    ("short.parquet", b"PAR1", "broken or cut off"),
    ("text.parquet", (HEADER + ROW).encode(), "does not hold Parquet"),
    ("events.parquet.gz", gzip.compress(PARQUET), "unpack it"),
    ("events.xlsx", b"PK\x03\x04", "its name must end with"),
    ("events", b"x", "its name must end with"),
    ("events.gz", COMPRESSED, "its name must end with"),
    ("data.csv", b"00001,1997-01-01,11.77\n00004,1997-01-01,29.33\n", "header line"),
    ("none.csv", b"a,b,c\n1,2,3\n", "columns found: a, b, c"),
]


@pytest.mark.parametrize(("name", "content", "message"), UNUSABLE, ids=[name for name, _, _ in UNUSABLE])
def test_an_unusable_file_is_told_in_one_line_and_nothing_is_left(
    tmp_path: Path, temporary_folder: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    good = write(tmp_path / "good.csv", HEADER + ROW)
    letters = tmp_path / "out" / "dead_letters.jsonl"
    error = fault_of([path], dead_letters_path=letters)
    assert re.search(message, " ".join([str(error), *error.faults]))
    assert name in str(error)
    assert not any(temporary_folder.iterdir())
    if error.code != "no_events":
        assert not letters.exists()
        assert not any(letters.parent.iterdir()) if letters.parent.exists() else True
        assert fault_of([good, path]).code == error.code


def test_a_broken_data_page_of_parquet_is_told(tmp_path: Path) -> None:
    broken = bytearray(PARQUET)
    broken[100:2000] = b"\xff" * 1900
    path = tmp_path / "log.parquet"
    path.write_bytes(bytes(broken))
    assert fault_of(path).code == "broken_event_file"


def test_a_cut_off_file_names_how_many_rows_were_readable(tmp_path: Path) -> None:
    text = HEADER + "".join(f"customer-{n * 7919 % 100_003},2024-05-01,{n}\n" for n in range(300_000))
    path = write(tmp_path / "log.csv.zst", text)
    path.write_bytes(path.read_bytes()[:-1000])
    error = fault_of(path)
    count = int(str(error).split("after ")[1].split()[0])
    assert 100_000 < count < 300_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", HEADER + ROW)
    path.chmod(0)
    assert "cannot be read" in str(fault_of(path))


def test_a_directory_and_a_pipe_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "logs.csv"
    folder.mkdir()
    assert f"'{folder}/*.csv'" in str(fault_of(folder))
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no regular file" in str(fault_of(tmp_path / "pipe.csv"))


def test_all_missing_files_are_told_at_once(tmp_path: Path) -> None:
    error = fault_of([tmp_path / "a.csv", tmp_path / "*.csv"])
    assert len(error.faults) == 2
    assert "no such file" in error.faults[0]
    assert "no file matches" in error.faults[1]
    assert "no event file is given" in str(fault_of([]))


def test_globs_are_sorted_and_a_file_found_twice_is_read_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, HEADER + ROW)
    with open_log([tmp_path / "b.csv", tmp_path / "**" / "*.csv"]) as log:
        assert [Path(file).name for file in log.files] == ["b.csv", "a.csv", "c.csv"]
        assert log.counts.rows_read == 3


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "log.csv", HEADER + ROW)
    events = read_log([tmp_path / "x" / "log.csv", tmp_path / "y" / "log.csv"], dead_letters_path=None).events
    assert [event.source for event in events] == [(f"{tmp_path}/x/log.csv", 1), (f"{tmp_path}/y/log.csv", 1)]
    assert len({event.event_id for event in events}) == 2


def test_a_name_with_glob_characters_is_a_name_first(tmp_path: Path) -> None:
    assert len(read_log(write(tmp_path / "log[1].csv", HEADER + ROW)).events) == 1


def test_temporary_files_are_removed_on_closing_and_after_errors(tmp_path: Path, temporary_folder: Path) -> None:
    path = write(tmp_path / "log.csv", HEADER + ROW)
    log = open_log(path)
    assert any(temporary_folder.iterdir())
    log.close()
    log.close()
    assert not any(temporary_folder.iterdir())

    def interrupt() -> None:
        with open_log(path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()

    def cancel(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_log(path, on_progress=cancel, dead_letters_path=tmp_path / "letters.jsonl")
    assert not any(temporary_folder.iterdir())
    assert not list(tmp_path.glob("letters*"))


def test_a_log_of_refused_rows_only_says_why_and_keeps_the_dead_letters(tmp_path: Path) -> None:
    letters = tmp_path / "dead_letters.jsonl"
    text = "customer_id,occurred_at,type,amount\nc,01/02/2024,purchase,5\nc,2024-05-01,Kauf,5\n"
    error = fault_of(write(tmp_path / "log.csv", text), dead_letters_path=letters)
    for part in ("none of 2 rows", "invalid_time 1", "unmapped_type 1", "'Kauf'", "row 1: event time = '01/02/2024'"):
        assert part in str(error)
    assert len(letters.read_bytes().splitlines()) == 1


def test_dead_letters_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", HEADER + ROW)
    error = fault_of(path, dead_letters_path=path / "below" / "letters.jsonl")
    assert error.code == "unwritable_output"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"timezone": "Mars/Olympus"}, "--timezone"),
        ({"timezone": "+25:00"}, "--timezone"),
        ({"timezone": "../etc"}, "--timezone"),
        ({"delimiter": ";;"}, "--delimiter"),
        ({"delimiter": '"'}, "--delimiter"),
        ({"decimal": "x"}, "--decimal"),
        ({"order": "random"}, "--order"),
        ({"mapping": {"customer": "x"}}, "customer_id, occurred_at"),
        ({"mapping": {"amount": "totl"}}, "--map amount=totl"),
    ],
)
def test_wrong_options_are_told_with_what_is_allowed(tmp_path: Path, options: dict[str, Any], part: str) -> None:
    assert part in str(fault_of(write(tmp_path / "log.csv", HEADER + ROW), **options))
