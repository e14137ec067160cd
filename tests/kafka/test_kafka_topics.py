"""Topics are made as the worker needs them, and every fault of a cluster is told with what to do about it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.kafka.admin import check_topics, create_topics
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import SettingsError


@pytest.fixture
def topics() -> Topics:
    """Names that no other test has."""
    app = f"app-{uuid.uuid4().hex[:12]}"
    return Topics(app, f"{app}-events")


@pytest.fixture(scope="module")
def admin(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap.split(","))
    yield client
    client.close()


def configure(admin: KafkaAdminClient, topic: str, **settings: str) -> None:
    named = {name.replace("_", "."): value for name, value in settings.items()}
    told = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    assert told == {"topic": {topic: "OK"}}


def test_made_topics_pass_the_check(kafka_bootstrap: str, topics: Topics) -> None:
    made = create_topics(kafka_bootstrap, topics, 4, 1)
    assert sorted(made) == sorted([topics.events, *topics.rules()])
    assert check_topics(kafka_bootstrap, topics) == 4
    assert create_topics(kafka_bootstrap, topics, None, None) == []


def test_missing_topics_are_made_with_as_many_partitions_as_the_events_have(
    kafka_bootstrap: str, topics: Topics, admin: KafkaAdminClient
) -> None:
    admin.create_topics({topics.events: {"num_partitions": 3, "replication_factor": 1}}, wait_for_metadata=True)
    made = create_topics(kafka_bootstrap, topics, None, None)
    assert sorted(made) == sorted(topics.rules())
    partitions = {told["name"]: len(told["partitions"]) for told in admin.describe_topics(made)}
    assert partitions[topics.state] == partitions[topics.ticks] == 3
    assert partitions[topics.learner_input] == partitions[topics.knowledge] == 1


def test_a_new_topic_of_events_needs_a_number_of_partitions(kafka_bootstrap: str, topics: Topics) -> None:
    with pytest.raises(SettingsError, match="needs --partitions"):
        create_topics(kafka_bootstrap, topics, None, None)


def test_another_number_of_partitions_is_refused_before_anything_is_made(
    kafka_bootstrap: str, topics: Topics, admin: KafkaAdminClient
) -> None:
    admin.create_topics({topics.events: {"num_partitions": 3, "replication_factor": 1}}, wait_for_metadata=True)
    with pytest.raises(SettingsError) as caught:
        create_topics(kafka_bootstrap, topics, 4, 1)
    assert caught.value.faults == (f"{topics.events}: 3 partitions, 4 are wanted",)
    assert topics.state not in admin.list_topics()


def test_what_the_cluster_refuses_is_told(kafka_bootstrap: str, topics: Topics) -> None:
    with pytest.raises(SettingsError) as caught:
        create_topics(kafka_bootstrap, topics, 1, 30_000)
    assert len(caught.value.faults) == 1 + len(topics.rules())
    assert "replication factor" in caught.value.faults[0]


def test_all_missing_topics_are_named_at_once(kafka_bootstrap: str, topics: Topics) -> None:
    with pytest.raises(SettingsError) as caught:
        check_topics(kafka_bootstrap, topics)
    assert len(caught.value.faults) == 1 + len(topics.rules())
    assert caught.value.faults[0].startswith(f"{topics.events}: there is no such topic")
    assert all("topics create" in fault for fault in caught.value.faults[1:])


def test_settings_that_would_lose_what_the_worker_needs_are_faults(
    kafka_bootstrap: str, topics: Topics, admin: KafkaAdminClient
) -> None:
    create_topics(kafka_bootstrap, topics, 1, 1)
    configure(admin, topics.state, retention_ms="604800000", segment_bytes="1073741824")
    configure(admin, topics.journal, retention_bytes="1000000")
    configure(admin, topics.ticks, cleanup_policy="compact")
    configure(admin, topics.current_segments, cleanup_policy="delete")
    configure(admin, topics.dead_letters, max_message_bytes="1000")
    with pytest.raises(SettingsError) as caught:
        check_topics(kafka_bootstrap, topics)
    told = sorted(fault.partition(" (")[0] for fault in caught.value.faults)
    assert told == sorted(
        [
            f"{topics.state}: retention.ms = 604800000, -1 is needed",
            f"{topics.state}: segment.bytes = 1073741824, 16777216 is needed",
            f"{topics.journal}: retention.bytes = 1000000, -1 is needed",
            f"{topics.ticks}: cleanup.policy = compact, delete is needed",
            f"{topics.current_segments}: cleanup.policy = delete, compact is needed",
            f"{topics.dead_letters}: max.message.bytes = 1000, 1048588 is needed",
        ]
    )
    assert all("kafka-configs --alter --topic" in fault for fault in caught.value.faults)


def test_partitions_that_do_not_go_with_the_events_are_a_fault(
    kafka_bootstrap: str, topics: Topics, admin: KafkaAdminClient
) -> None:
    admin.create_topics({topics.state: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)
    admin.create_topics({topics.events: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    with pytest.raises(SettingsError) as caught:
        check_topics(kafka_bootstrap, topics)
    assert any(fault.startswith(f"{topics.state}: 2 partitions, 1 needed") for fault in caught.value.faults)


@pytest.mark.parametrize("command", [create_topics, check_topics])
def test_a_cluster_that_does_not_answer_is_named(command: object, topics: Topics) -> None:
    arguments = (1, 1) if command is create_topics else ()
    with pytest.raises(LogError, match=r"Kafka at 127\.0\.0\.1:1"):
        command("127.0.0.1:1", topics, *arguments)  # type: ignore[operator]
