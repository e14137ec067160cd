"""The commands `state export`, `state import` and `state show`, as a user runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from stream_app.cli import main
from stream_app.cli.customer_words import customer_lines
from stream_app.domain.rows import row_dtype
from tests.factories import make_axis, make_policy
from tests.state.drained import OLD_COUNT, halves
from tests.streaming.harness import TOPICS, new_log

Run = tuple[int, str, str]
NAMES = ("--app", TOPICS.app, "--events", TOPICS.events)


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Run:
    monkeypatch.setattr(sys, "argv", ["stream-app", "state", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    output = capsys.readouterr()
    return (code if isinstance(code, int) else 0, output.out, output.err)


def test_a_state_moves_to_a_log_of_more_partitions_and_is_shown_there(
    drained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, new = tmp_path / "state.npz", tmp_path / "new.db"
    count = len({sale.customer_id for sale in halves()[0]})
    code, told, errors = run(capsys, monkeypatch, "export", file, "--log", f"sqlite://{drained}", *NAMES)
    assert (code, errors) == (0, "")
    assert f"exported {count} customers of {OLD_COUNT} partitions" in told

    new_log(new, 4)
    code, told, errors = run(capsys, monkeypatch, "import", file, "--log", f"sqlite://{new}", *NAMES)
    assert (code, errors) == (0, "")
    assert [line.split(":")[0] for line in told.splitlines()[:4]] == [f"partition {number}" for number in range(4)]
    assert told.endswith(f"imported {count} customers, read back and compared\n")

    customer = halves()[0][0].customer_id
    code, told, errors = run(capsys, monkeypatch, "show", customer, "--log", f"sqlite://{new}", *NAMES)
    assert (code, errors) == (0, "")
    assert told.startswith(f"customer: {customer}\npartition: ")
    code, before, _ = run(capsys, monkeypatch, "show", customer, "--log", f"sqlite://{drained}", *NAMES)
    assert before.splitlines()[2:] == told.splitlines()[2:]
    assert "value: " in told
    assert "purchases: " in told

    code, told, errors = run(capsys, monkeypatch, "import", file, "--log", f"sqlite://{new}", *NAMES)
    assert (code, told) == (2, "")
    assert "--replace" in errors


@pytest.mark.parametrize("customer", ["nobody", "", "ä" * 100])
def test_a_customer_of_whom_nothing_is_known_is_told_in_one_line(
    drained: Path, customer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told, errors = run(capsys, monkeypatch, "show", customer, "--log", f"sqlite://{drained}", *NAMES)
    assert (code, told) == (2, "")
    assert errors.startswith(f"stream-app: nothing is remembered of customer {customer!r}")
    assert len(errors.splitlines()) == 1


def test_a_row_is_told_in_words() -> None:
    policy = make_policy(axes=(make_axis(), make_axis(name="growth", score="growth", confirmation_ms=1)))
    rows = np.zeros(1, dtype=row_dtype(2, 3))
    rows["clock_ms"] = 1_700_000_000_000
    rows["held"], rows["candidate"], rows["bucket"] = (2, 0), (-1, 1), (500, 400)
    rows["score"], rows["since_ms"], rows["candidate_cause"] = (5.25, 4.5), (0, 1_699_000_000_000), (0, 2)
    rows["sequence"], rows["turn"] = 3, 1441
    rows["purchase_count"], rows["basket_count"], rows["refund_count"] = 4, 3, 1
    rows["first_purchase_s"], rows["last_purchase_s"] = 1_600_000_000, 1_700_000_000
    rows["gross_spend"], rows["net_spend"], rows["refunded"], rows["largest_basket"] = 100.5, 90.25, 10.25, 60
    rows["decayed_spend"], rows["decayed_count"] = (1, 2, 3, 4), (0.5, 0.5, 1, 2)
    rows["behaviour_count"][0, 1], rows["behaviour_last_s"][0, 1] = 1.5, 1_650_000_000
    rows["satisfaction_sum"], rows["satisfaction_count"] = 1.5, 2
    rows["kept_s"][0, 5], rows["kept_gross_spend"][0, 5], rows["kept_baskets"][0, 5] = 1_699_999_980, 80, 2
    assert customer_lines(rows, policy) == [
        "clock: 2023-11-14 22:13:20 UTC",
        "value: vip, score 5.2500",
        "growth: small, score 4.5000, big to be confirmed since 2023-11-03 08:26:40 UTC (time)",
        "segment changes told: 3",
        "purchases: 4 in 3 baskets, first 2020-09-13 12:26:40 UTC, last 2023-11-14 22:13:20 UTC",
        "spend: gross 100.50, net 90.25 EUR, largest basket 60.00",
        "refunds: 1, 10.25 EUR",
        "decayed spend and baskets by half-life: 14 days: 1.00 in 0.50; 30 days: 2.00 in 0.50; "
        "90 days: 3.00 in 1.00; 365 days: 4.00 in 2.00",
        "cart: 1.50 (half-life 30 days), last 2022-04-15 05:20:00 UTC",
        "satisfaction: mean 0.75 of 2",
        "turn: day 2 of 28 at 00:01 UTC",
        "gross spend and baskets at snapshots: 2023-11-14 22:13:00 UTC: 80.00 in 2",
    ]


def test_a_prospect_is_told_as_one() -> None:
    rows = np.zeros(1, dtype=row_dtype(1, 3))
    rows["held"] = rows["candidate"] = rows["bucket"] = -1
    lines = customer_lines(rows, make_policy())
    assert "value: prospect" in lines
    assert "purchases: none" in lines
