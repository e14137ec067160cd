"""Topics of an application on a Kafka cluster: making them, and checking all that the worker relies on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.kafka.clients import (
    CLIENT_ID,
    SESSION_TIMEOUT_MS,
    TRANSACTION_TIMEOUT_MS,
    server_list,
)
from stream_app.adapters.log.kafka.security import read_security
from stream_app.adapters.log.topics import Cleanup, Partitions, TopicRule, Topics
from stream_app.domain.errors import SettingsError

MESSAGE_BYTES_MIN: Final = 1_048_588
"""What a topic has to take: a broker's default, and a little more than the largest batch that is written."""
OFFSETS_RETENTION_MINUTES_MIN: Final = 24 * 60
"""A group that stands still for a weekend should still show its lag on Monday; less than a day is surely a mistake."""
BOOTSTRAP_TIMEOUT_MS: Final = 10_000
KNOCK_TIMEOUT_S: Final = 5.0
CLEANUP_SETTING: Final = "cleanup.policy"
_UNLIMITED: Final = -1
_TRUNCATING_RIGHT: Final = "DELETE"
_RIGHTS: Final = ("READ", "WRITE")


@contextmanager
def administering(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Connect for administration.

    Raises
    ------
    LogError
        When the cluster does not answer, or refuses.
    """
    admin = None
    try:
        _knock(server_list(bootstrap))
        admin = KafkaAdminClient(
            bootstrap_servers=server_list(bootstrap),
            client_id=CLIENT_ID,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            **read_security(os.environ).client_settings(),
        )
        yield admin
    except (KafkaError, OSError) as error:
        message = f"Kafka at {bootstrap}: {error}: see that the address is right, the cluster runs, and you may use it"
        raise LogError(message) from error
    finally:
        if admin is not None:
            admin.close()


def _knock(servers: list[str]) -> None:
    """See that one of these listens; the client would try for as long as it is told, and leave sockets open."""
    refused: OSError | None = None
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), KNOCK_TIMEOUT_S):
                return
        except OSError as error:
            refused = error
    if refused is not None:
        raise refused


def create_topics(bootstrap: str, topics: Topics, partition_count: int | None, replication: int | None) -> list[str]:
    """Make all topics of an application, those that are missing.

    Parameters
    ----------
    bootstrap
        Addresses of the cluster.
    topics
        Their names; the topic of events is made, too, if it is not there.
    partition_count
        Of the events; None takes the number that they have.
    replication
        Copies of each partition; None takes the cluster's default.

    Returns
    -------
    list[str]
        Names of those that were made.

    Raises
    ------
    SettingsError
        When the number of partitions is not known or another one, or the cluster refuses a topic; all faults are told.
    LogError
        When the cluster does not answer.
    """
    with administering(bootstrap) as admin:
        found = _describe(admin, [topics.events, *topics.rules()])
        counts = {name: len(told["partitions"]) for name, told in found.items()}
        count = partition_count or counts.get(topics.events)
        if count is None:
            message = f"{topics.events}: there is no such topic, and a new one needs --partitions N"
            raise SettingsError(message, code="unknown_partition_count")
        faults = [
            f"{name}: {counts[name]} partitions, {wanted} are wanted"
            for name, wanted in _wanted_counts(topics, count).items()
            if counts.get(name, wanted) != wanted
        ]
        _refuse(bootstrap, faults, "other_partition_count")
        missing = [name for name in _wanted_counts(topics, count) if name not in counts]
        return _create(admin, bootstrap, _new_topics(topics, missing, count, replication))


def _wanted_counts(topics: Topics, partition_count: int) -> dict[str, int]:
    rules = topics.rules()
    own = {name: partition_count if rule.partitions is Partitions.AS_EVENTS else 1 for name, rule in rules.items()}
    return {topics.events: partition_count} | own


def _new_topics(topics: Topics, missing: list[str], count: int, replication: int | None) -> dict[str, dict[str, Any]]:
    rules, counts = topics.rules(), _wanted_counts(topics, count)
    return {
        name: {
            "num_partitions": counts[name],
            "replication_factor": replication or -1,
            # Brokers judge age by the records' own times: a history in a new topic would be gone at once.
            "configs": _settings(rules[name]) if name in rules else {"retention.ms": "-1"},
        }
        for name in missing
    }


def _settings(rule: TopicRule) -> dict[str, str]:
    cleanup = "compact" if rule.cleanup is Cleanup.COMPACT else "delete"
    # The cluster's own default may be smaller than Kafka's, and then the largest records would not fit.
    return {CLEANUP_SETTING: cleanup, "max.message.bytes": str(MESSAGE_BYTES_MIN), **rule.config}


def _create(admin: KafkaAdminClient, bootstrap: str, wanted: Mapping[str, Any]) -> list[str]:
    if not wanted:
        return []
    answer = admin.create_topics(dict(wanted), raise_errors=False)
    # Whoever made one at the same moment has done what was wanted.
    harmless = (0, TopicAlreadyExistsError.errno)
    faults = [
        f"{told['name']}: {told['error_message'] or 'error ' + str(told['error_code'])}"
        for told in answer["topics"]
        if told["error_code"] not in harmless
    ]
    _refuse(bootstrap, faults, "topics_refused")
    admin.wait_for_topics(list(wanted))
    return [told["name"] for told in answer["topics"] if told["error_code"] == 0]


def check_topics(bootstrap: str, topics: Topics) -> int:
    """Check all that the worker relies on: topics, their settings, limits of the brokers, and our rights.

    Parameters
    ----------
    bootstrap
        Addresses of the cluster.
    topics
        Names of the topics.

    Returns
    -------
    int
        Partitions of the events.

    Raises
    ------
    SettingsError
        With all faults; each says what to do.
    LogError
        When the cluster does not answer.
    """
    with administering(bootstrap) as admin:
        found = _describe(admin, [topics.events, *topics.rules()])
        settings = _topic_settings(admin, [name for name in topics.rules() if name in found])
        brokers = [broker["broker_id"] for broker in admin.describe_cluster()["brokers"] if not broker.get("is_fenced")]
        limits = _broker_settings(admin, brokers[0])
    count = len(found[topics.events]["partitions"]) if topics.events in found else None
    faults = [*_topic_faults(topics, found, count), *_setting_faults(topics, settings), *_limit_faults(limits)]
    _refuse(bootstrap, faults, "unsuitable_cluster")
    assert count is not None
    return count


def _describe(admin: KafkaAdminClient, names: list[str]) -> dict[str, Any]:
    told = admin.describe_topics(names)
    missing = UnknownTopicOrPartitionError.errno
    return {topic["name"]: topic for topic in told if topic["error_code"] != missing}


def _topic_settings(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    told = admin.describe_configs(asked, config_filter="all")["topic"]
    return {name: {key: entry["value"] for key, entry in entries.items()} for name, entries in told.items()}


def _broker_settings(admin: KafkaAdminClient, broker: int) -> dict[str, str]:
    asked = [ConfigResource(ConfigResourceType.BROKER, str(broker))]
    told = admin.describe_configs(asked, config_filter="all").get("broker", {})
    return {key: entry["value"] for key, entry in told.get(str(broker), {}).items()}


def _topic_faults(topics: Topics, found: Mapping[str, Any], count: int | None) -> Iterator[str]:
    rules = topics.rules()
    if count is None:
        yield f"{topics.events}: there is no such topic: create it or mend its name (--events)"
    wanted = dict.fromkeys(rules, None) if count is None else _wanted_counts(topics, count)
    for name, partitions in wanted.items():
        told = found.get(name)
        if told is None:
            yield f"{name}: there is no such topic: run `stream-app topics create`"
            continue
        has = len(told["partitions"])
        if partitions is not None and has != partitions:
            reason = "as many as the events have" if name in rules and partitions != 1 else "it has one writer"
            yield f"{name}: {has} partitions, {partitions} needed ({reason}): see 'Topics' in docs/operations.md"
        leaderless = [part["partition_index"] for part in told["partitions"] if part["leader_id"] < 0]
        if leaderless:
            yield f"{name}: partitions {leaderless} have no leader: bring their brokers back"
        yield from _right_faults(topics, name, told.get("authorized_operations"))


def _right_faults(topics: Topics, name: str, rights: list[str] | None) -> Iterator[str]:
    if rights is None:
        return
    needed = ["READ"] if name == topics.events else list(_RIGHTS)
    if name in (topics.state, topics.learner_state, topics.learner_input):
        needed.append(_TRUNCATING_RIGHT)
    for right in needed:
        if right not in rights:
            reason = " (its log is truncated, and would grow without end)" if right == _TRUNCATING_RIGHT else ""
            yield f"{name}: the right {right} is missing{reason}: grant it with kafka-acls --add --operation {right}"


def _setting_faults(topics: Topics, settings: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, rule in topics.rules().items():
        if name not in settings:
            continue
        has = settings[name]
        yield from _cleanup_faults(name, rule, has.get(CLEANUP_SETTING, ""))
        if int(has["max.message.bytes"]) < MESSAGE_BYTES_MIN:
            yield _mended(
                name, "max.message.bytes", has["max.message.bytes"], str(MESSAGE_BYTES_MIN), "records are larger"
            )
        for setting in ("retention.ms", "retention.bytes"):
            if setting in rule.config and int(has[setting]) != _UNLIMITED:
                yield _mended(name, setting, has[setting], "-1", "what the worker recovers from would disappear")
        limit = rule.config.get("segment.bytes")
        if limit is not None and int(has["segment.bytes"]) > int(limit):
            yield _mended(name, "segment.bytes", has["segment.bytes"], limit, "only closed segments are freed")


def _cleanup_faults(name: str, rule: TopicRule, has: str) -> Iterator[str]:
    policies = {part.strip() for part in has.split(",")}
    if rule.cleanup is Cleanup.COMPACT and "compact" not in policies:
        yield _mended(name, CLEANUP_SETTING, has, "compact", "it keeps the last record of every customer")
    if rule.cleanup is Cleanup.KEEP and policies != {"delete"}:
        yield _mended(name, CLEANUP_SETTING, has, "delete", "records would disappear, or could not be truncated")


def _mended(name: str, setting: str, has: str, wanted: str, reason: str) -> str:
    command = f"kafka-configs --alter --topic {name} --add-config {setting}={wanted}"
    return f"{name}: {setting} = {has}, {wanted} is needed ({reason}): {command}"


def _limit_faults(limits: Mapping[str, str]) -> Iterator[str]:
    bounds = (
        ("transaction.max.timeout.ms", TRANSACTION_TIMEOUT_MS, None, "the worker's transactions ask for it"),
        ("group.max.session.timeout.ms", SESSION_TIMEOUT_MS, None, "the worker's session has it"),
        ("group.min.session.timeout.ms", None, SESSION_TIMEOUT_MS, "the worker's session has it"),
        ("offsets.retention.minutes", OFFSETS_RETENTION_MINUTES_MIN, None, "lag could not be measured after a stop"),
    )
    for setting, least, most, reason in bounds:
        has = limits.get(setting)
        if has is None:
            continue
        if least is not None and int(has) < least:
            yield f"brokers: {setting} = {has}, at least {least} is needed ({reason}): set it in server.properties"
        if most is not None and int(has) > most:
            yield f"brokers: {setting} = {has}, at most {most} is needed ({reason}): set it in server.properties"


def _refuse(bootstrap: str, faults: list[str], code: str) -> None:
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        message = f"the Kafka cluster at {bootstrap} cannot be used as it is ({count})"
        raise SettingsError(message, code=code, faults=tuple(faults))
