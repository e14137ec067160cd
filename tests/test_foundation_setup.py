"""A fresh machine is set up once, from pinned and hashed files, and a failed set-up is begun again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCKS = ["runtime.txt", "dev.txt"]
OLD_PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.18" && exit
exit 1
"""
# Stands in for an interpreter: its environments hold another stand-in, whose pip fails as long as `broken` exists.
FAKE_PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "$*" >> pip.log\\ntest ! -e broken\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""


def pins(lock: str) -> dict[str, Requirement]:
    lines = re.findall(r"^[A-Za-z0-9][^\\\n]*", (ROOT / "requirements" / lock).read_text(), flags=re.MULTILINE)
    requirements = [Requirement(line.strip()) for line in lines]
    return {requirement.name: requirement for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert [entry for entry in entries if not re.match(r"\S+==\S+ .*\\\n +--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    options = [line for line in lines if line.lstrip().startswith("-") and not line.lstrip().startswith("--hash=")]
    assert options == []
    assert [line for line in lines if "://" in line or "@" in line] == []


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = pins("runtime.txt"), pins("dev.txt")
    wanted = [(runtime, line) for line in project["project"]["dependencies"]]
    wanted += [(dev, line) for line in project["dependency-groups"]["dev"]]
    for locked, line in wanted:
        requirement = Requirement(line)
        version = str(locked[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{line} but {version} is locked: run 'make lock'"


def test_what_is_tested_is_what_is_shipped() -> None:
    dev = pins("dev.txt")
    different = [name for name, requirement in pins("runtime.txt").items() if str(dev.get(name)) != str(requirement)]
    assert different == []


@pytest.fixture
def fresh_tree(tmp_path: Path) -> Path:
    """Lay out a tree whose Makefile is ours, with a stand-in for Python."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").write_text("numpy==2.0\n")
    for name, script in (("python", FAKE_PYTHON), ("old-python", OLD_PYTHON)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make_setup(tree: Path, python: str = "python") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "setup", f"PYTHON={tree / python}"]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def installs(tree: Path) -> int:
    log = tree / "pip.log"
    return log.read_text().count("--require-hashes") if log.exists() else 0


def test_a_tree_that_is_set_up_is_left_alone(fresh_tree: Path) -> None:
    assert make_setup(fresh_tree).returncode == 0
    assert "pip install" in (fresh_tree / "pip.log").read_text()
    (fresh_tree / "requirements" / "dev.txt").touch()
    (fresh_tree / "pip.log").unlink()
    assert make_setup(fresh_tree).returncode == 0
    assert not (fresh_tree / "pip.log").exists()


def test_a_changed_lock_is_installed_anew(fresh_tree: Path) -> None:
    make_setup(fresh_tree)
    (fresh_tree / "requirements" / "dev.txt").write_text("numpy==2.1\n")
    assert make_setup(fresh_tree).returncode == 0
    assert installs(fresh_tree) == 2


def test_a_changed_project_file_installs_the_package_only(fresh_tree: Path) -> None:
    make_setup(fresh_tree)
    (fresh_tree / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert make_setup(fresh_tree).returncode == 0
    assert installs(fresh_tree) == 1
    assert (fresh_tree / "pip.log").read_text().count("-e .") == 2


def test_a_failed_install_is_begun_again(fresh_tree: Path) -> None:
    (fresh_tree / "broken").touch()
    assert make_setup(fresh_tree).returncode != 0
    assert list((fresh_tree / ".venv").glob(".*")) == []
    (fresh_tree / "broken").unlink()
    assert make_setup(fresh_tree).returncode == 0
    assert installs(fresh_tree) == 2


def test_another_python_gets_an_environment_of_its_own(fresh_tree: Path) -> None:
    make_setup(fresh_tree)
    shutil.copy(fresh_tree / "python", fresh_tree / "newer-python")
    assert make_setup(fresh_tree, "newer-python").returncode == 0
    assert installs(fresh_tree) == 2


@pytest.mark.parametrize(("python", "version"), [("old-python", "Python 3.9.18"), ("no-python", "not found")])
def test_a_python_that_will_not_do_is_refused_in_one_line(fresh_tree: Path, python: str, version: str) -> None:
    result = make_setup(fresh_tree, python)
    assert result.returncode != 0
    message, *rest = result.stderr.splitlines()
    assert "Python >= 3.11 is needed" in message
    assert version in message
    assert [line for line in rest if not line.startswith("make")] == []
    assert not (fresh_tree / ".venv").exists()
