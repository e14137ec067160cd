"""Fixtures for tests on a real broker, and what is said at the end where there was none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.kafka.artifacts import BrokerUnavailableError
from tests.kafka.broker import KafkaCluster

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP"
KAFKA_MISSING = "no Kafka broker for the tests"


def start_cluster(brokers: int, settings: Callable[[str], Mapping[str, str]] | None = None) -> KafkaCluster:
    """Start a cluster; without Java or Maven the test is skipped loudly, and fails where CI is true."""
    cluster = KafkaCluster(brokers, settings)
    try:
        return cluster.__enter__()
    except BrokerUnavailableError as error:
        message = f"{KAFKA_MISSING}: {error}; or give the address of a cluster in {BOOTSTRAP_VARIABLE}"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Addresses of a cluster that all tests share: that of KAFKA_BOOTSTRAP, or one broker of our own."""
    given = os.environ.get(BOOTSTRAP_VARIABLE)
    if given:
        yield given
        return
    cluster = start_cluster(1)
    try:
        yield cluster.bootstrap
    finally:
        cluster.stop()


@pytest.fixture
def kafka_one_broker() -> Iterator[KafkaCluster]:
    """One broker for one test, which may kill it."""
    cluster = start_cluster(1)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def kafka_three_brokers() -> Iterator[KafkaCluster]:
    """Three brokers, three replicas of which two must be in sync; for one test, which may kill them."""
    cluster = start_cluster(3)
    try:
        yield cluster
    finally:
        cluster.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which promises were not checked because no broker could be started."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and KAFKA_MISSING in report.longrepr[2]
    ]
    if not skipped:
        return
    terminalreporter.section("NOT CHECKED: promises on a real Kafka broker", sep="!", yellow=True, bold=True)
    terminalreporter.line(skipped[0].longrepr[2])
    for report in skipped:
        terminalreporter.line(f"  not checked: {report.nodeid}")
