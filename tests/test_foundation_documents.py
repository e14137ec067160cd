"""What README and documents say is so: every command runs, every option exists, every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
RUNNABLE = [command for command in COMMANDS if command.startswith("stream-app ")]


def test_every_command_of_the_readme_is_ours() -> None:
    assert [command for command in COMMANDS if not command.startswith(("make ", "stream-app "))] == []
    assert RUNNABLE


def test_every_make_target_that_a_document_names_exists() -> None:
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), flags=re.MULTILINE)
    }
    assert named - MAKE_TARGETS == set()


def test_make_help_lists_every_target() -> None:
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^make ([a-z]+)", result.stdout, flags=re.MULTILINE)) == MAKE_TARGETS


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def readme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow the README: a folder with its example file, after all of its commands."""
    folder = tmp_path_factory.mktemp("readme")
    (example,) = blocks("csv")
    (folder / "orders.csv").write_text(example)
    for command in RUNNABLE:
        result = shell(command, folder)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        assert "Traceback" not in result.stderr
    return folder


def test_the_commands_of_the_readme_write_the_files_that_it_lists(readme_folder: Path) -> None:
    listed = re.findall(r"^\| `([a-z_]+\.[a-z]+)` \|", README, flags=re.MULTILINE)
    assert len(listed) == 6
    assert [name for name in listed if not (readme_folder / "first" / name).exists()] == []
    for command in RUNNABLE:
        words = shlex.split(command)
        if "--out" in words:
            assert (readme_folder / words[words.index("--out") + 1]).exists()


def test_every_option_that_the_readme_names_exists(tmp_path: Path) -> None:
    commands = ("backtest", "simulate", "topics create", "worker", "changes", "web")
    known = "".join(shell(f"stream-app {name} --help", tmp_path).stdout for name in commands)
    named = set(re.findall(r"--[a-z][a-z-]+", README))
    assert named - set(re.findall(r"--[a-z][a-z-]+", known)) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_a_document_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", document.read_text())
    files = [target for target in targets if "://" not in target]
    assert [target for target in files if not (document.parent / target).exists()] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
