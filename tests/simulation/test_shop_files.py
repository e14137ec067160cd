"""Files of a simulated shop: equal bytes, every format alike, whole or not at all, and one line for every fault."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stream_app import cli as command_line
from stream_app.domain.errors import SettingsError
from stream_app.simulation.columns import EVENT_SCHEMA
from stream_app.simulation.files import ShopFiles, write_shop
from stream_app.simulation.settings import ShopSettings
from stream_app.simulation.shop import simulate
from stream_app.simulation.truth import METADATA_KEY, TRUTH_SCHEMA
from stream_app.simulation.writer import EVENT_ENDINGS, written_whole

SHOP = ShopSettings(customers=200, days=90, seed=2)


def write(folder: Path, name: str, truth: str | None = None) -> Path:
    write_shop(SHOP, ShopFiles.checked(folder / name, folder / truth if truth else None))
    return folder / name


def expected_events() -> pa.Table:
    return pa.Table.from_batches(simulate(SHOP), EVENT_SCHEMA)


def content(path: Path) -> bytes:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        with pa.input_stream(path, compression="zstd") as stream:
            return bytes(stream.read())
    return path.read_bytes()


@pytest.mark.parametrize("ending", EVENT_ENDINGS)
@pytest.mark.parametrize("truth_ending", [".parquet", ".csv"])
def test_equal_settings_write_equal_bytes(tmp_path: Path, ending: str, truth_ending: str) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        write(folder, f"shop{ending}", f"truth{truth_ending}")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert f"shop{ending}" in names
    assert len(names) == (3 if truth_ending == ".csv" else 2)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_parquet_holds_the_events(tmp_path: Path) -> None:
    assert pq.read_table(write(tmp_path, "shop.parquet")).equals(expected_events())


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.zst"])
def test_csv_holds_the_events(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, f"shop{ending}")
    options = pyarrow.csv.ConvertOptions(column_types=EVENT_SCHEMA, strings_can_be_null=True)
    table = pyarrow.csv.read_csv(io.BytesIO(content(path)), convert_options=options)
    assert table.cast(EVENT_SCHEMA).equals(expected_events())


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_json_lines_hold_the_events(tmp_path: Path, ending: str) -> None:
    lines = content(write(tmp_path, f"shop{ending}")).decode().splitlines()
    rows = expected_events().to_pylist()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        satisfaction = row.pop("satisfaction")
        row["occurred_at"] = row["occurred_at"].strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        row["properties"] = None if satisfaction is None else {"satisfaction": satisfaction}
        assert json.loads(line) == {name: value for name, value in row.items() if value is not None}


def test_the_truth_names_every_customer_and_the_population(tmp_path: Path) -> None:
    write(tmp_path, "shop.csv", "truth.parquet")
    write(tmp_path, "shop.csv", "truth.csv")
    truth = pq.read_table(tmp_path / "truth.parquet")
    assert truth.schema.equals(TRUTH_SCHEMA)
    assert truth.num_rows == SHOP.customers
    parameters = json.loads(truth.schema.metadata[METADATA_KEY])
    assert parameters == json.loads((tmp_path / "truth.csv.json").read_text())
    assert parameters["seed"] == SHOP.seed
    assert parameters["bg_nbd"]["r"] == SHOP.population.purchase_rate_shape
    header, first = (tmp_path / "truth.csv").read_text().splitlines()[:2]
    assert header.split(",") == TRUTH_SCHEMA.names
    assert first.split(",")[2].endswith("Z")


def test_the_log_is_the_same_with_and_without_a_truth_file(tmp_path: Path) -> None:
    alone = write(tmp_path, "alone.csv").read_bytes()
    assert write(tmp_path, "shop.csv", "truth.csv").read_bytes() == alone


def test_what_was_there_stays_when_a_run_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "shop.parquet"
    path.write_bytes(b"old")
    stages: list[str] = []

    def interrupt(stage: str, _share: float) -> None:
        stages.append(stage)
        if stage == "writing events":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shop(SHOP, ShopFiles.checked(path, tmp_path / "truth.csv"), on_progress=interrupt)
    assert stages[-1] == "writing events"
    assert [file.name for file in tmp_path.iterdir()] == ["shop.parquet"]
    assert path.read_bytes() == b"old"


def test_a_failing_disk_becomes_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with written_whole([tmp_path / "shop.csv"]) as (partial,):
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(SettingsError, match="No space left") as raised:
        fill_the_disk()
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_progress_grows_to_the_end_of_both_stages(tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    files = ShopFiles.checked(tmp_path / "shop.csv", None)
    write_shop(SHOP, files, on_progress=lambda stage, share: told.setdefault(stage, []).append(share))
    assert list(told) == ["drawing customers", "writing events"]
    for shares in told.values():
        assert shares == sorted(shares)
        assert 0.9 < shares[-1] <= 1.0


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    target = tmp_path / "real.csv"
    target.write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    write(tmp_path, "link.csv")
    assert link.is_symlink()
    assert target.read_text().startswith("event_id,")


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SIZE = ("--customers", "20", "--days", "10", "--seed", "1")


def test_the_command_writes_the_shop_and_tells_its_counts(tmp_path: Path) -> None:
    path, truth = tmp_path / "shop.jsonl", tmp_path / "truth.parquet"
    result = cli("simulate", *SIZE, "--out", path, "--truth", truth, "--start", "2020-02-28", "--currency", "EUR")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1
    lines = path.read_text().splitlines()
    assert f"{len(lines):,} events of 20 customers in 10 days" in result.stdout
    assert lines[0].startswith('{"event_id":"e000000000000"')
    assert '"occurred_at":"2020-02-28T' in lines[0]
    assert pq.read_table(truth).num_rows == 20


def test_the_command_warns_of_a_log_that_ends_in_the_future(tmp_path: Path) -> None:
    result = cli("simulate", *SIZE, "--out", tmp_path / "shop.csv", "--start", "2100-01-01")
    assert result.returncode == 0
    assert "take an earlier --start" in result.stderr


BAD_OPTIONS = [
    (("--customers", "0"), "customers = 0"),
    (("--customers", "-5"), "customers = -5"),
    (("--customers", "100000000"), "customers = 100000000"),
    (("--days", "0"), "days = 0"),
    (("--days", "-1"), "days = -1"),
    (("--days", "1000000000000"), "must end by 2106-02-06"),
    (("--seed", "-1"), "seed = -1"),
    (("--start", "yesterday"), "start = 'yesterday'"),
    (("--start", "1969-12-31"), "start = 1969-12-31"),
    (("--start", "2106-02-06"), "must end by 2106-02-06"),
    (("--activity", "nan"), "activity = nan"),
    (("--activity", "-1"), "activity = -1"),
    (("--spend-mean", "inf"), "spend_mean = inf"),
    (("--purchases-per-year", "0"), "purchases_per_year = 0"),
    (("--days", "3000", "--activity", "20"), "events of each customer who stays"),
    (("--days", "2000", "--purchases-per-year", "500"), "events of each customer who stays"),
    (("--currency", "usd"), "currency = 'usd'"),
    (("--currency", "DOLLARS"), "currency = 'DOLLARS'"),
]


@pytest.mark.parametrize(("options", "fault"), BAD_OPTIONS)
def test_a_bad_option_is_one_line_that_names_it(
    tmp_path: Path, options: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = fail(tmp_path, (*SIZE, "--out", str(tmp_path / "shop.csv"), *options), capsys)
    assert len(lines) == 1
    assert fault in lines[0]


def test_all_faults_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = ("--customers", "0", "--days", "0", "--seed", "-1", "--out", str(tmp_path / "shop.csv"))
    lines = fail(tmp_path, bad, capsys)
    assert [name for line in lines for name in ("customers", "days", "seed") if f"{name} = " in line] == [
        "customers",
        "seed",
        "days",
    ]


BAD_FILES = [
    ("shop.txt", None, "ending is not known"),
    ("shop", None, "ending is not known"),
    (".csv", None, "ending is not known"),
    ("shop.gz", None, "ending is not known"),
    ("missing/shop.csv", None, "no directory"),
    ("folder.csv", None, "is a directory"),
    ("pipe.csv", None, "is not an ordinary file"),
    ("n" * 300 + ".csv", None, "File name too long"),
    ("shop.csv", "truth.jsonl", "ending is not known"),
    ("shop.csv", "folder.csv", "is a directory"),
    ("shop.csv", "missing/truth.csv", "no directory"),
    ("shop.csv", "shop.csv", "two different files"),
    ("shop.csv", "link.csv", "two different files"),
    ("old.csv", "hard.csv", "two different files"),
    ("shop.csv", "taken.csv", "is a directory"),
]


@pytest.mark.parametrize(("out", "truth", "fault"), BAD_FILES)
def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, out: str, truth: str | None, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "taken.csv.json").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "shop.csv")
    (tmp_path / "old.csv").touch()
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "old.csv")
    options = ("--truth", str(tmp_path / truth)) if truth else ()
    lines = fail(tmp_path, (*SIZE, "--out", str(tmp_path / out), *options), capsys)
    assert len(lines) == 1
    assert fault in lines[0]


def fail(folder: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run the command in this process; give its lines on standard error once it has failed and left no file."""
    before = sorted(folder.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stream-app", "simulate", *options])
        with pytest.raises(SystemExit) as raised:
            command_line.main()
    assert raised.value.code == 2
    assert sorted(folder.iterdir()) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_help_loads_none_of_the_libraries_that_commands_need() -> None:
    code = "import sys, stream_app.cli; print(*{'numpy', 'pyarrow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
