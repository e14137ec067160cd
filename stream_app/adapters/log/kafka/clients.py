"""How our clients of Kafka are set up, each setting with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, cast

import aiokafka.producer.sender
import aiokafka.record._crecords.default_records as record_batches
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.codec import zstd_encode

from stream_app.adapters.log.kafka.security import read_security

CLIENT_ID = "stream-app"
REQUEST_TIMEOUT_MS = 10_000
"""Below the transaction timeout: a connection that hangs is given up while its transaction still lives."""
RETRY_BACKOFF_MS = 20
"""Brokers from 4.0 on check with the coordinator that a partition belongs to a transaction, and now and then ask
clients of aiokafka's protocol to come again; its default of 100 ms would be seen in the latency."""
TRANSACTION_TIMEOUT_MS = 15_000
"""How long a transaction whose writer has died may hide what is committed behind it; aiokafka's default is a minute."""
SESSION_TIMEOUT_MS = 12_000
"""A worker that died is replaced after so long; one that was stopped has been fenced when it goes on."""
HEARTBEAT_MS = 3_000
BATCH_BYTES_MAX = 1_000_000
"""Bytes of a batch before compression, so that even one that cannot be compressed is below the broker's 1,048,588."""
REQUEST_BYTES_MAX = 8_388_608
FETCH_BYTES_MAX = 52_428_800
PARTITION_FETCH_BYTES_MAX = 8_388_608
"""A recovery reads one partition as fast as it can: with aiokafka's 1 MiB it waits for the network most of the time."""
FOLLOW_WAIT_MS = 100
"""A follower's long poll: data ends it at once, but a partition that was read meanwhile waits for its end."""
FETCHER_LOOK_MS = 10
"""aiokafka begins no fetch where one ends while another partition's records are taken, and only sees it when it next
looks around: every 200 ms by default, which a worker at 10,000 events/s met once or twice a second."""
CONCURRENT_TRANSACTIONS_BACKOFF_S = 0.002
"""A broker completes a commit some milliseconds after its answer, and refuses the next transaction until then."""

ZSTD_LEVEL = 1
"""JSON becomes no larger than at level 3, which aiokafka takes, and is packed at 750 instead of 500 MB/s."""


def server_list(bootstrap: str) -> list[str]:
    """Split addresses at commas."""
    return [server.strip() for server in bootstrap.split(",") if server.strip()]


def common_settings(bootstrap: str) -> dict[str, Any]:
    """Give what all clients are told, with what the environment says of security."""
    return {
        "bootstrap_servers": server_list(bootstrap),
        "client_id": CLIENT_ID,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
        **read_security(os.environ).client_settings(),
    }


def new_producer(bootstrap: str, transactional_id: str | None) -> AIOKafkaProducer:
    """Make a producer whose records are written once each, and in transactions where it has an id for them."""
    # A constant of aiokafka's module that has no setting; it waits 20 ms where the broker needs 2.
    assert isinstance(aiokafka.producer.sender.BACKOFF_OVERRIDE, float)
    aiokafka.producer.sender.BACKOFF_OVERRIDE = CONCURRENT_TRANSACTIONS_BACKOFF_S
    # Nor has the level of compression.
    assert hasattr(record_batches, "zstd_encode")
    record_batches.zstd_encode = partial(zstd_encode, level=ZSTD_LEVEL)
    return AIOKafkaProducer(
        **common_settings(bootstrap),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        enable_idempotence=True,
        acks="all",
        # JSON shrinks to a twelfth and packed rows to less than half. lz4, at the level that aiokafka sets, does not
        # pack rows at all, at 70 MB/s.
        compression_type="zstd",
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=REQUEST_BYTES_MAX,
        linger_ms=0,
    )


def new_reader(bootstrap: str, *, is_committed_only: bool = True) -> AIOKafkaConsumer:
    """Make a consumer without a group: what it reads and from where is told to it."""
    return AIOKafkaConsumer(
        **common_settings(bootstrap),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed" if is_committed_only else "read_uncommitted",
        # An offset that is not there is an error; a silent jump to another one would lose or repeat records.
        auto_offset_reset="none",
        fetch_max_wait_ms=FOLLOW_WAIT_MS,
        consumer_timeout_ms=FETCHER_LOOK_MS,
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
    )


def hand_out_as_parsed(reader: AIOKafkaConsumer, partitions: Iterable[Any]) -> None:
    """Have records that were fetched handed out as they were parsed, and by nobody but who parses them.

    aiokafka copies each into a record of eleven fields, which takes twice as long as parsing it, and hands it on
    through an iterator written in Python.

    Parameters
    ----------
    reader
        Who fetched.
    partitions
        Of which partitions, in aiokafka's form.
    """
    fetched = reader._fetcher._records
    for partition in partitions:
        # An error may stand in the place of records.
        result = fetched.get(partition)
        records = getattr(result, "_partition_records", None)
        if records is not None and not isinstance(records, _Parsed):
            assert callable(records._consumer_record)
            records._consumer_record = _as_parsed
            result._partition_records = _Parsed(records)


class _Parsed:
    """Records of one partition, as far as `aiokafka.consumer.fetcher.FetchResult` asks for them."""

    def __init__(self, records: Any) -> None:
        self._records, self._iterator = records, records._records_iterator

    def __iter__(self) -> Iterator[Any]:
        return cast("Iterator[Any]", self._iterator)

    def __next__(self) -> Any:
        return next(self._iterator)

    @property
    def next_fetch_offset(self) -> int:
        return int(self._records.next_fetch_offset)


def _as_parsed(_: Any, record: Any) -> Any:
    return record
