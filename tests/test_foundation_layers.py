"""The lint contracts catch what they are there for: layers, libraries, clocks, randomness, input and output."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]
}
IMPORT_NAMES = {
    "faust-streaming": ["faust", "mode"],
    "kafka-python": ["kafka"],
    "prometheus-client": ["prometheus_client"],
    "pydantic-settings": ["pydantic_settings"],
}
ALLOWED_IN_THE_CORE = {"numba", "numpy"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "lint-imports", "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def layer_modules() -> list[str]:
    names = [name for layer in CONTRACTS["layers"]["layers"] for name in layer.split("|")]
    return [name.strip(" ()") for name in names]


@pytest.fixture
def empty_package(tmp_path: Path) -> Path:
    """Lay out an empty module for every layer, in the package's name."""
    package = tmp_path / "stream_app"
    for folder in (package, *(package / name for name in layer_modules())):
        folder.mkdir()
        (folder / "__init__.py").touch()
    return package


@dataclass(frozen=True)
class Violation:
    module: str
    imports: str
    contract: str


VIOLATIONS = [
    Violation("domain", "stream_app.engine", "layers"),
    Violation("engine", "stream_app.adapters", "layers"),
    Violation("learning", "stream_app.engine", "layers"),
    Violation("adapters", "stream_app.backtest", "layers"),
    Violation("backtest", "stream_app.cli", "layers"),
    Violation("simulation", "stream_app.engine", "simulation"),
    Violation("engine", "pyarrow", "third-party"),
    Violation("domain", "river", "third-party"),
    Violation("engine", "time", "purity"),
    Violation("domain", "os", "purity"),
    Violation("learning", "random", "purity"),
]


def test_every_arrow_that_points_outward_breaks_its_contract(empty_package: Path) -> None:
    for violation in VIOLATIONS:
        with (empty_package / violation.module / "__init__.py").open("a") as module:
            module.write(f"import {violation.imports}\n")
    result = lint_imports(empty_package.parent)
    assert result.returncode == 1, result.stdout + result.stderr
    missed = [
        violation
        for violation in VIOLATIONS
        if f"stream_app.{violation.module} -> {violation.imports} (" not in result.stdout
    ]
    assert missed == [], result.stdout
    for contract in CONTRACTS.values():
        assert f"{contract['name']} BROKEN" in result.stdout


def test_arrows_that_point_inward_keep_every_contract(empty_package: Path) -> None:
    (empty_package / "cli" / "__init__.py").write_text("import stream_app.backtest, stream_app.simulation, typer\n")
    (empty_package / "backtest" / "__init__.py").write_text("import stream_app.adapters, stream_app.engine, time\n")
    (empty_package / "engine" / "__init__.py").write_text("import math, numpy, stream_app.domain\n")
    result = lint_imports(empty_package.parent)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_new_module_must_be_given_a_layer(empty_package: Path) -> None:
    (empty_package / "utils.py").touch()
    result = lint_imports(empty_package.parent)
    assert result.returncode == 1
    assert "stream_app.utils" in result.stdout


def test_the_core_is_forbidden_every_library_that_the_product_depends_on() -> None:
    libraries = {Requirement(line).name for line in PROJECT["project"]["dependencies"]} - ALLOWED_IN_THE_CORE
    modules = {module for library in libraries for module in IMPORT_NAMES.get(library, [library])}
    assert modules <= set(CONTRACTS["third-party"]["forbidden_modules"])


def banned_names(path: str, code: str) -> list[str]:
    """Ask ruff for the lines of some code that use what the core may not, as if it stood in the file."""
    config = ROOT / "pyproject.toml"
    options = ["--no-cache", "--select", "TID251", "--output-format", "concise"]
    result = subprocess.run(
        [SCRIPTS / "ruff", "check", *options, "--config", config, "--stdin-filename", ROOT / path, "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return [line for line in result.stdout.splitlines() if "TID251" in line]


IMPURE_LINES = [
    "import time",
    "from time import perf_counter",
    "import random",
    "from uuid import uuid4",
    "import datetime; datetime.datetime.now(datetime.UTC)",
    "from datetime import UTC, datetime; datetime.now(UTC)",
    "from datetime import date; date.today()",
    "import numpy as np; np.random.default_rng(7)",
    "from numpy.random import default_rng",
    "import numpy as np; np.load('table.npy')",
]
CORE_FILES = ["stream_app/domain/tiers.py", "stream_app/learning/models.py", "stream_app/engine/rules.py"]


@pytest.mark.parametrize("path", CORE_FILES)
def test_clocks_randomness_and_files_are_banned_in_the_core(path: str) -> None:
    kept = [line for line in IMPURE_LINES if not banned_names(path, f"{line}\n")]
    assert kept == []


@pytest.mark.parametrize("path", ["stream_app/backtest/run.py", "stream_app/cli/simulate.py", "tests/test_engine.py"])
def test_clocks_and_files_are_allowed_at_the_edges(path: str) -> None:
    assert banned_names(path, "".join(f"{line}\n" for line in IMPURE_LINES)) == []


def test_times_without_a_clock_are_allowed_in_the_core() -> None:
    code = "from datetime import UTC, datetime\nimport numpy as np\ndatetime.fromtimestamp(0, UTC)\nnp.zeros(3)\n"
    assert banned_names("stream_app/engine/rules.py", code) == []


def core_files() -> list[Path]:
    package = ROOT / "stream_app"
    return [path for layer in ("domain", "learning", "engine") for path in package.glob(f"{layer}/**/*.py")]


def calls_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_the_core_opens_reads_and_prints_nothing() -> None:
    # Ruff bans names by the module that they come from, and these come from none.
    impure = {str(path.relative_to(ROOT)): calls_in(path) & {"open", "input", "print"} for path in core_files()}
    assert {path: calls for path, calls in impure.items() if calls} == {}
    assert len(impure) > 10
