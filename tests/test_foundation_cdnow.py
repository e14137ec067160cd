"""Tests that need the CDNOW log are never skipped in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

USES_THE_LOG = """
def test_uses_the_log(cdnow_events_path):
    assert cdnow_events_path.read_bytes() == b"log"
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CDNOW_EVENTS", raising=False)
    monkeypatch.delenv("CI", raising=False)
    # The copy of conftest.py that runs in this process must not load another profile for the tests that follow.
    monkeypatch.setenv("HYPOTHESIS_PROFILE", settings.get_current_profile_name())
    source = Path(__file__).with_name("conftest.py").read_text()
    pytester.makeconftest(source.replace('pytest_plugins = ["pytester"]', ""))
    pytester.makepyfile(USES_THE_LOG)
    return pytester


def run(project: pytest.Pytester) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider")


def test_without_the_log_the_summary_names_what_was_not_checked(project: pytest.Pytester) -> None:
    result = run(project)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*NOT CHECKED*", "*CDNOW_EVENTS*", "*not checked: *::test_uses_the_log"])


def test_without_the_log_a_run_with_ci_true_fails(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CDNOW_EVENTS*"])


def test_a_path_that_is_no_file_fails_everywhere(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDNOW_EVENTS", "nowhere/events.csv.gz")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CDNOW_EVENTS = nowhere/events.csv.gz is no file*"])


def test_with_the_log_the_summary_is_silent(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    log = project.path / "events.csv.gz"
    log.write_bytes(b"log")
    monkeypatch.setenv("CDNOW_EVENTS", str(log))
    result = run(project)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*NOT CHECKED*")
