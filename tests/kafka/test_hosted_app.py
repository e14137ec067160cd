"""Workers join, leave and die: partitions stay together, and each record is handed over once."""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.log.kafka.admin import create_topics
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from tests.kafka.kafka_case import SettledLog
from tests.kafka.workers import WorkerProcess, wait_until, what_they_wrote
from tests.log.clients import read_all

PARTITIONS = 4
END_WAIT_S = 120.0
"""Where it is fenced by chance, a worker waits for 15 s."""
Start = Callable[[str], WorkerProcess]


@pytest.fixture
def topics(kafka_bootstrap: str) -> Topics:
    """Topics of an application of its own."""
    app = f"app-{uuid.uuid4().hex[:12]}"
    topics = Topics(app, f"{app}-events")
    create_topics(kafka_bootstrap, topics, PARTITIONS, 1)
    return topics


@pytest.fixture
def start(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Start]:
    """Start a worker that only writes down what it is told."""
    workers: list[WorkerProcess] = []

    def start_one(name: str) -> WorkerProcess:
        told = [f"kafka://{kafka_bootstrap}", topics.app, topics.events, str(tmp_path / f"{name}.notes")]
        worker = WorkerProcess(name, tmp_path, ["-m", "tests.kafka.recording_worker", *told])
        workers.append(worker)
        return worker

    yield start_one
    for worker in workers:
        worker.clear_away()


class Feed:
    """Appends events and ticks to all partitions, a little at a time, until it is stopped."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap, self._topics = bootstrap, topics
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.count = 0

    async def _run(self) -> None:
        log = KafkaLog(self._bootstrap, "feed")
        await log.start()
        try:
            while not self._is_over.is_set():
                values = [b"%d" % number for number in range(self.count, self.count + 50)]
                sources = (self._topics.events, self._topics.ticks)
                await log.append([Outgoing(topic, n, values) for topic in sources for n in range(PARTITIONS)])
                await log.append([Outgoing(self._topics.learner_input, 0, values)])
                self.count += 50
                await asyncio.sleep(0.02)
        finally:
            await log.stop()

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()


def owned(worker: WorkerProcess) -> list[int]:
    """Partitions that a worker was told of last."""
    told = [note["partitions"] for note in worker.notes() if note["what"] == "assign"]
    return told[-1] if told else []


def share(workers: Sequence[WorkerProcess]) -> Callable[[], bool]:
    """Tell whether these workers own everything, each at least one partition."""
    return lambda: (
        sorted(number for worker in workers for number in owned(worker)) == list(range(PARTITIONS))
        and all(owned(worker) for worker in workers)
    )


def check_ownerships(notes: Sequence[dict[str, Any]], topics: Topics) -> int:
    """Check that each record was handed over once, in order and without a gap, while its partition was owned.

    The sources have no holes: what they were given was appended outside of transactions.
    """
    expected: dict[str, int] = {}
    count = 0
    for note in notes:
        if note["what"] == "revoke":
            lost = {f"{topic}-{n}" for n in note["partitions"] for topic in (topics.events, topics.ticks)}
            lost |= {f"{topics.learner_input}-0"} if note["lost_learner"] else set()
            expected = {tp: offset for tp, offset in expected.items() if tp not in lost}
        elif note["what"] == "assign":
            assert not note["new"].keys() & expected.keys(), "what it had already was given again"
            expected |= note["new"]
            mine = {f"{topic}-{n}" for n in note["partitions"] for topic in (topics.events, topics.ticks)}
            assert expected.keys() - {f"{topics.learner_input}-0"} == mine, "events and ticks belong together"
        elif note["what"] == "hand_over":
            tp = f"{note['topic']}-{note['partition']}"
            assert note["offsets"] == list(range(expected[tp], expected[tp] + len(note["offsets"])))
            expected[tp] += len(note["offsets"])
            count += len(note["offsets"])
    return count


def test_workers_join_leave_and_die_and_each_record_is_handed_over_once(
    kafka_bootstrap: str, topics: Topics, start: Start
) -> None:
    with Feed(kafka_bootstrap, topics) as feed:
        first = start("first")
        wait_until(share([first]), [first])
        second = start("second")
        wait_until(share([first, second]), [first, second])
        third = start("third")
        trio = [first, second, third]
        wait_until(share(trio), trio)
        assert second.end(signal.SIGTERM) == 0
        wait_until(share([first, third]), trio)
        first.end(signal.SIGKILL)
        wait_until(share([third]), trio)
        fed = feed.count
    ends = {TopicPartition(topic, n): feed.count for topic in (topics.events, topics.ticks) for n in range(PARTITIONS)}
    ends[TopicPartition(topics.learner_input, 0)] = feed.count
    assert fed > 0
    journal = asyncio.run(await_end(kafka_bootstrap, topics, ends, trio))
    assert third.end(signal.SIGTERM) == 0
    counts = [check_ownerships(worker.notes(), topics) for worker in trio]
    for number, values in journal.items():
        events = [b"%d" % each for each in range(feed.count)]
        sources = 3 if number == 0 else 2
        assert sorted(values, key=int) == sorted(events * sources, key=int), "committed once each"
    print(f"events per partition={feed.count} handed over by worker={counts}")


async def await_end(
    bootstrap: str, topics: Topics, ends: dict[TopicPartition, int], workers: Sequence[WorkerProcess]
) -> dict[int, list[bytes]]:
    """Wait until everything is committed, and give what stands in the journal."""
    log = SettledLog(bootstrap, topics.app)
    await log.start()
    committed: dict[TopicPartition, int] = {}
    try:
        async with asyncio.timeout(END_WAIT_S):
            while (committed := await log.committed(list(ends))) != ends:
                await asyncio.sleep(0.1)
        return {
            number: [record.value or b"" for record in await read_all(log, TopicPartition(topics.journal, number))]
            for number in range(PARTITIONS)
        }
    except TimeoutError as error:
        notes = [(worker.name, note) for worker in workers for note in worker.notes() if note["what"] != "hand_over"]
        told = "\n".join(map(str, notes))
        message = f"committed {committed} of {ends}:\n{told}\n{what_they_wrote(workers)}"
        raise TimeoutError(message) from error
    finally:
        await log.stop()


def test_a_worker_that_was_stopped_for_longer_than_its_session_gives_up_what_others_have_taken(
    kafka_bootstrap: str, topics: Topics, start: Start
) -> None:
    with Feed(kafka_bootstrap, topics) as feed:
        stopped, other = start("stopped"), start("other")
        pair = [stopped, other]
        wait_until(share(pair), pair)
        stopped.signal(signal.SIGSTOP)
        wait_until(lambda: owned(other) == list(range(PARTITIONS)), pair)
        stopped.signal(signal.SIGCONT)
        wait_until(lambda: any(note["what"] == "revoke" for note in stopped.notes()), pair)
        wait_until(share(pair), pair)
    ends = {TopicPartition(topic, n): feed.count for topic in (topics.events, topics.ticks) for n in range(PARTITIONS)}
    journal = asyncio.run(await_end(kafka_bootstrap, topics, ends, pair))
    for worker in pair:
        assert worker.end(signal.SIGTERM) == 0
        check_ownerships(worker.notes(), topics)
    values = [b"%d" % each for each in range(feed.count)]
    for number in range(1, PARTITIONS):
        assert sorted(journal[number], key=int) == sorted(values * 2, key=int), "committed once each"
