"""Compiled loops: what their kept code hangs on, and that it is made no more often than it has to be."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.domain.compiled import compiled

ROOT = Path(__file__).parents[2]
DOMAIN = ROOT / "stream_app" / "domain"
HARMLESS = {"math", "np"}
"""What may be used from elsewhere: it changes with the version of Python, numpy or numba alone."""


def is_compiled(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(own, ast.Name) and own.id == "compiled" for own in node.decorator_list
    )


def names_in(node: ast.AST) -> set[str]:
    return {own.id for own in ast.walk(node) if isinstance(own, ast.Name)}


def told_elsewhere(tree: ast.Module) -> set[str]:
    """Give the names of a module that come from other modules, or are made of such."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    found -= HARMLESS
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if targets and names_in(node) & found:
            found |= {own.id for own in targets if isinstance(own, ast.Name)}
    return found


def compiled_functions(text: str) -> Iterator[tuple[ast.FunctionDef, set[str]]]:
    """Give the compiled functions of a module, and what each uses from elsewhere; types do not count."""
    tree = ast.parse(text)
    elsewhere = told_elsewhere(tree)
    for node in tree.body:
        if is_compiled(node):
            assert isinstance(node, ast.FunctionDef)
            yield node, set().union(*(names_in(own) for own in node.body)) & elsewhere


def test_compiled_functions_use_nothing_that_another_file_can_change() -> None:
    """Kept code is made anew when its own file changes, and only then."""
    found = {
        f"{path.name}: {node.name}": used
        for path in sorted(DOMAIN.glob("*.py"))
        for node, used in compiled_functions(path.read_text())
    }
    assert len(found) >= 10
    assert {name: used for name, used in found.items() if used} == {}


@pytest.mark.parametrize(
    "line",
    ["return value * ELSEWHERE", "return value * HALF", "return helper(value)"],
    ids=["as it is", "made of it", "function"],
)
def test_the_check_sees_what_comes_from_elsewhere(line: str) -> None:
    text = f"from a import ELSEWHERE, helper\nHALF = ELSEWHERE / 2\n@compiled\ndef own(value):\n    {line}\n"
    [(_, used)] = compiled_functions(text)
    assert len(used) == 1


def test_where_code_cannot_be_kept_a_function_is_compiled_all_the_same() -> None:
    namespace: dict[str, Any] = {"math": math}
    # Code without a file: there is no folder beside it.
    exec("def root(value):\n    return math.sqrt(value)", namespace)
    root: Callable[[float], float] = compiled(namespace["root"])
    assert root(9.0) == 3.0


def test_a_division_by_zero_gives_what_arithmetic_says() -> None:
    @compiled
    def inverse(value: float) -> float:
        return 1.0 / value

    assert inverse(0.0) == math.inf


def test_nothing_is_compiled_in_the_middle_of_the_work(tmp_path: Path) -> None:
    """In a process of its own: other tests call the functions with types that the product never has."""
    command = [sys.executable, "-m", "tests.unit.compiled_run", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    before, after = json.loads(run.stdout)
    assert len(before) > 20
    assert after == before
    assert max(before.values()) <= 2
