"""A process that commits to an embedded log until it is killed: `python -m tests.log.committing PATH SEED OPTIONS`.

Commit n puts record n on every partition, states that the position is n + 1, and is printed when it is durable.
Meanwhile it truncates and compacts, so that a kill may hit those, too.
Options: `--torn` commits in two transactions, which nobody may do; `--small` writes so little that nothing leaves the
write-ahead log.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.housekeeping import Housekeeper
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.adapters.log.topics import Cleanup

CHANGES = [TopicPartition("changes", number) for number in range(3)]
STATE = TopicPartition("state", 0)
CURRENT = TopicPartition("current", 0)
SOURCE = TopicPartition("events", 0)
KEYS = 20
STATE_KEPT = 50


def make(path: Path) -> None:
    plans = [TopicPlan("events", 1), TopicPlan("changes", 3), TopicPlan("state", 1)]
    ensure_plans(path, [*plans, TopicPlan("current", 1, Cleanup.COMPACT)])


def content(number: int, numbers: random.Random, *, is_small: bool) -> list[Outgoing]:
    """Give commit n: sizes vary, so that it fills one page of the file or hundreds."""
    padding = numbers.randbytes(numbers.choice([0, 10, 3_000, 3_000 if is_small else 300_000]))
    value = b"%d " % number + padding
    return [
        *(Outgoing(topic, partition, [value]) for topic, partition in CHANGES),
        Outgoing("state", 0, [value]),
        Outgoing("current", 0, [b"%d" % number], [b"%d" % (number % KEYS)]),
    ]


async def commit_for_ever(path: Path, seed: int, options: list[str]) -> None:
    numbers = random.Random(seed)
    log = SqliteLog(path, "segments")
    await log.start()
    writer = await log.writer("shard-0")
    housekeeper = Housekeeper(path)
    number = (await log.committed([SOURCE])).get(SOURCE, 0)
    print("ready", flush=True)
    while True:
        outgoing = content(number, numbers, is_small="--small" in options)
        if "--torn" in options:
            await writer.commit(outgoing[:2], {})
            await writer.commit(outgoing[2:], {SOURCE: number + 1})
        else:
            await writer.commit(outgoing, {SOURCE: number + 1})
        number += 1
        print(number, flush=True)
        if number % 7 == 0:
            await log.truncate(STATE, max(0, number - STATE_KEPT))
        if number % 5 == 0:
            await housekeeper.work()


if __name__ == "__main__":
    asyncio.run(commit_for_ever(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
