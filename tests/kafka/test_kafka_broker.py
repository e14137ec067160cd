"""The broker of the tests is a real one, and nobody can overlook that it was missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from tests.kafka.artifacts import CACHE_VARIABLE
from tests.kafka.plugin import BOOTSTRAP_VARIABLE, KAFKA_MISSING

TEST = "def test_promise(kafka_bootstrap):\n    assert kafka_bootstrap\n"


@pytest.fixture
def promise(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.Pytester:
    """A test that needs a broker, on a machine without Java."""
    monkeypatch.delenv(BOOTSTRAP_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PATH", str(tmp_path))
    pytester.makepyfile(TEST)
    return pytester


def run(promise: pytest.Pytester) -> pytest.RunResult:
    return promise.runpytest_subprocess("-p", "no:cacheprovider", "-p", "tests.kafka.plugin")


def test_one_broker_is_started_and_answers(kafka_bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap.split(","))
    try:
        assert len(admin.describe_cluster()["brokers"]) >= 1
    finally:
        admin.close()


def test_without_java_a_skipped_promise_is_named_at_the_end(
    promise: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = run(promise)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*NOT CHECKED: promises on a real Kafka broker*", f"*{KAFKA_MISSING}: no java*"])
    result.stdout.fnmatch_lines(["*not checked: *test_promise*"])


def test_without_java_ci_fails(promise: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(promise)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{KAFKA_MISSING}: no java*"])


def test_a_cluster_that_is_given_is_used(promise: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, "127.0.0.1:1")
    run(promise).assert_outcomes(passed=1)
