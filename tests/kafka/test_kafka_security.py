"""Clients encrypt and say who they are where the environment says so, and never tell a password."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, KafkaAdminClient, ResourcePattern, ResourceType

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.kafka.admin import check_topics, create_topics
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.kafka.security import PREFIX, read_security
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import SettingsError
from tests.kafka.broker import KafkaCluster
from tests.kafka.plugin import start_cluster
from tests.kafka.secured import PASSWORD, USER, SecuredListener, new_listener
from tests.kafka.workers import WorkerProcess, wait_until


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaCluster, SecuredListener]]:
    """A broker with an address that asks for a password over TLS."""
    found: list[SecuredListener] = []

    def settings(plain_listeners: str) -> dict[str, str]:
        found.append(new_listener(tmp_path_factory.mktemp("keys")))
        return found[-1].settings(plain_listeners)

    cluster = start_cluster(1, settings)
    yield cluster, found[-1]
    cluster.stop()


@pytest.fixture
def secured(brokers: tuple[KafkaCluster, SecuredListener]) -> SecuredListener:
    """The address that asks for a password."""
    return brokers[1]


@pytest.fixture
def rules(brokers: tuple[KafkaCluster, SecuredListener]) -> Iterator[KafkaAdminClient]:
    """Whoever may say who may do what."""
    admin = KafkaAdminClient(bootstrap_servers=brokers[0].bootstrap.split(","))
    yield admin
    admin.close()


def allow(rules: KafkaAdminClient, kind: ResourceType, name: str, user: str, *operations: ACLOperation) -> None:
    """Allow something to a user, and thereby nothing else to anybody."""
    allowed = [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
        for operation in operations
    ]
    assert rules.create_acls(allowed)["failed"] == []


@pytest.fixture
def environment(secured: SecuredListener, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a client of this broker needs."""
    needed = {"PROTOCOL": "SASL_SSL", "USER": USER, "PASSWORD": PASSWORD, "CA_FILE": str(secured.ca_file)}
    variables = {f"{PREFIX}{name}": value for name, value in needed.items()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def test_topics_data_and_the_worker_go_over_an_encrypted_connection_with_a_password(
    secured: SecuredListener, environment: dict[str, str], tmp_path: Path
) -> None:
    topics = Topics("app", "events")
    create_topics(secured.address, topics, 1, 1)
    assert check_topics(secured.address, topics) == 1

    async def write_and_read() -> list[bytes | None]:
        log = KafkaLog(secured.address, "somebody")
        await log.start()
        writer = await log.writer("somebody")
        partition = TopicPartition(topics.dead_letters, 0)
        await writer.commit([Outgoing(*partition, [b"1", b"2"])], {TopicPartition("events", 0): 1})
        while (bounds := await log.bounds(partition)).stable_end < bounds.end:
            await asyncio.sleep(0.01)
        values = [record.value async for chunk in log.read(partition, 0, 2) for record in chunk]
        await log.stop()
        return values

    assert asyncio.run(write_and_read()) == [b"1", b"2"]
    address = {"STREAM_APP_LOG": f"kafka://{secured.address}", "STREAM_APP_APP": "app", "STREAM_APP_EVENTS": "events"}
    worker = WorkerProcess("worker", tmp_path, ["-m", "stream_app", "worker"], address | environment)
    try:
        wait_until(lambda: "partitions taken" in worker.output() or worker.process.poll() is not None, [worker])
        assert worker.end() == 0
        assert PASSWORD not in worker.output()
    finally:
        worker.clear_away()


async def refused(secured: SecuredListener) -> str:
    """Give what is said when a log may not start, having looked that it leaves no connection open."""
    before = open_sockets()
    with pytest.raises(LogError) as caught:
        await KafkaLog(secured.address, "app").start()
    assert open_sockets() <= before
    return str(caught.value)


def open_sockets() -> int:
    """Count the sockets of this process."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if link.is_symlink())


def test_a_wrong_password_is_refused_and_not_told(
    secured: SecuredListener, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}PASSWORD", "battery staple")
    assert "battery staple" not in asyncio.run(refused(secured))


def test_a_broker_whose_certificate_nobody_knows_is_refused(
    secured: SecuredListener, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{PREFIX}CA_FILE")
    asyncio.run(refused(secured))


def test_missing_rights_on_topics_are_faults(
    secured: SecuredListener, environment: dict[str, str], rules: KafkaAdminClient
) -> None:
    topics = Topics("rights", "rights-events")
    create_topics(secured.address, topics, 1, 1)
    reading = (ACLOperation.READ, ACLOperation.DESCRIBE, ACLOperation.DESCRIBE_CONFIGS)
    allow(rules, ResourceType.TOPIC, topics.state, USER, *reading, ACLOperation.WRITE)
    allow(rules, ResourceType.TOPIC, topics.journal, USER, *reading)
    with pytest.raises(SettingsError) as caught:
        check_topics(secured.address, topics)
    told = sorted(fault.partition(" is missing")[0] for fault in caught.value.faults)
    assert told == [f"{topics.journal}: the right WRITE", f"{topics.state}: the right DELETE"]


def test_a_worker_that_may_not_join_its_group_ends_and_says_so(
    secured: SecuredListener, environment: dict[str, str], rules: KafkaAdminClient, tmp_path: Path
) -> None:
    topics = Topics("closed", "closed-events")
    create_topics(secured.address, topics, 1, 1)
    allow(rules, ResourceType.GROUP, topics.app, "somebody-else", ACLOperation.READ)
    own = {"LOG": f"kafka://{secured.address}", "APP": topics.app, "EVENTS": topics.events}
    variables = {f"STREAM_APP_{name}": value for name, value in own.items()} | environment
    worker = WorkerProcess("worker", tmp_path, ["-m", "stream_app", "worker"], variables)
    try:
        assert worker.process.wait(90) == 2, worker.output()
        assert "GroupAuthorizationFailed" in worker.output()
    finally:
        worker.clear_away()


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({"PROTOCOL": "TLS"}, ["PROTOCOL"]),
        ({"PROTOCOL": "SASL_SSL"}, ["USER", "PASSWORD"]),
        ({"PROTOCOL": "SASL_SSL", "USER": "u", "PASSWORD": "secret", "SASL_MECHANISM": "NTLM"}, ["SASL_MECHANISM"]),
        ({"USER": "u", "PASSWORD": "secret"}, ["PROTOCOL"]),
        ({"PROTOCOL": "SSL", "PASSWORD": "secret"}, ["PROTOCOL"]),
    ],
    ids=["protocol", "no_user", "mechanism", "password_in_the_clear", "password_unused"],
)
def test_faults_of_the_environment_are_told_without_a_password(given: dict[str, str], places: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read_security({f"{PREFIX}{name}": value for name, value in given.items()})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [f"{PREFIX}{place}" for place in places]
    assert "secret" not in str((str(caught.value), caught.value.faults))


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    security = read_security({f"{PREFIX}PROTOCOL": "SSL", f"{PREFIX}CA_FILE": str(tmp_path / "none.pem")})
    with pytest.raises(SettingsError, match=r"none\.pem"):
        security.client_settings()


def test_a_password_does_not_show_in_what_is_printed() -> None:
    given = {"PROTOCOL": "SASL_SSL", "USER": "u", "PASSWORD": "secret"}
    assert "secret" not in repr(read_security({f"{PREFIX}{name}": value for name, value in given.items()}))
