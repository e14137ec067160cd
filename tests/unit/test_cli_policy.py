"""The commands `policy check` and `policy show`, as a user runs them."""

import json
import sys
from pathlib import Path

import pytest

from stream_app.adapters.policy_file import default_text, load_policy
from stream_app.cli import main

Run = tuple[int, str, str]


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Run:
    monkeypatch.setattr(sys, "argv", ["stream-app", "policy", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    output = capsys.readouterr()
    return (code if isinstance(code, int) else 0, output.out, output.err)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def test_what_show_prints_is_a_policy_to_start_from(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, shown, _ = run(capsys, monkeypatch, "show")
    path.write_text(shown, encoding="utf-8")

    assert (code, shown) == (0, default_text())
    code, checked, errors = run(capsys, monkeypatch, "check", path)
    assert (code, errors) == (0, "")
    assert load_policy(None).content_hash in checked
    assert "from default  nothing" in checked
    assert checked.endswith("\nok\n")


def test_check_sums_up_the_policy_and_names_what_comes_from_the_default(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('[policy]\nname = "mine"\n[time]\nsweep_period = "7d"', encoding="utf-8")

    code, checked, _ = run(capsys, monkeypatch, "check", path)

    assert code == 0
    assert 'name          "mine"' in checked
    assert f"state hash    {load_policy(path).state_hash}" in checked
    assert (
        "axis          value: small < big < vip; quantiles 0.8, 0.95; margin 0.2 to rise, 0.6 to fall, confirmation 0d"
        in checked
    )
    assert "sweep period  7d" in checked
    assert "from default  policy.owner, policy.objective, axes, treatments, money, events, rating" in checked


def test_check_names_every_fault_and_exits_with_2(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("[time]\nhorizon_periods = 0\n[money]\namount_max = 0", encoding="utf-8")

    code, checked, errors = run(capsys, monkeypatch, "check", path)

    assert (code, checked) == (2, "")
    lines = errors.splitlines()
    assert lines[0].startswith(f"stream-app: {path}: the policy has 2 faults")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["money.amount_max", "time.horizon_periods"]


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_file_that_does_not_exist_is_one_line_and_exit_code_2(
    command: str, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, errors = run(capsys, monkeypatch, command, path)

    assert code == 2
    assert errors.count("\n") == 1
    assert "no such file" in errors


def test_show_prints_an_owners_policy_in_full_so_that_it_reads_back_the_same(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('[events.types]\nview = { family = "ignore" }\n[time]\nsweep_period = "7d"', encoding="utf-8")
    policy = load_policy(path)

    code, shown, _ = run(capsys, monkeypatch, "show", path)
    path.write_text(shown, encoding="utf-8")

    assert code == 0
    assert load_policy(path) == policy
    assert policy.content_hash in shown.splitlines()[0]


@pytest.mark.parametrize("is_default", [True, False])
def test_show_as_json_holds_hashes_and_every_section(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, is_default: bool
) -> None:
    path.write_text('[policy]\nname = "größer"', encoding="utf-8")
    arguments = ("show", "--json") if is_default else ("show", path, "--json")

    code, shown, _ = run(capsys, monkeypatch, *arguments)

    assert code == 0
    content = json.loads(shown)
    assert content["content_hash"] == load_policy(None if is_default else path).content_hash
    assert content["policy"]["name"] == ("default" if is_default else "größer")
    assert content["axes"]["value"]["cuts"] == [0.8, 0.95]
