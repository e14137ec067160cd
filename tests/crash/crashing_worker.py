"""A worker that kills itself at a chosen point, or does without transactions; run as a script in place of the command.

Variables of the environment: CRASH_POINT and CRASH_COUNT say where and at which time it happens, CRASH_ROWS_MAX makes
commits small, CRASH_FOREIGN_S says how long transactions of others are waited for, and WITHOUT_TRANSACTIONS=1 takes the
protection out.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.streaming import hosting, recovery, shard, shard_task, state_reader, worker

POINTS = (
    "after_decode",
    "before_commit",
    "after_outputs",
    "before_offsets",
    "after_offsets",
    "before_end",
    "after_commit",
    "between_slices",
    "switch",
    "recovery",
    "before_truncation",
    "after_truncation",
)
"""Places at which a worker is killed; those from `after_outputs` to `before_end` are inside a transaction of Kafka."""


class _Fuse:
    """Kills the process when a point has been reached often enough."""

    def __init__(self, point: str, count: int) -> None:
        self._point, self._left = point, count

    def reach(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _before(owner: Any, name: str, reached: Callable[..., None]) -> None:
    """Have a method report before it runs."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        reached(*arguments)
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


def _around(owner: Any, name: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Have a coroutine function report before and after it runs."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        before()
        result = await original(*arguments, **named)
        after()
        return result

    setattr(owner, name, wrapped)


def _nothing() -> None:
    """Report nothing."""


def _writer_and_log() -> tuple[Any, Any]:
    if os.environ["STREAM_APP_LOG"].startswith("kafka"):
        from stream_app.adapters.log.kafka.log import KafkaLog
        from stream_app.adapters.log.kafka.writer import KafkaWriter

        return KafkaWriter, KafkaLog
    from stream_app.adapters.log.sqlite.log import SqliteLog, SqliteWriter

    return SqliteWriter, SqliteLog


def _lay_fuses(fuse: _Fuse) -> None:
    def at(point: str) -> Callable[[], None]:
        return lambda: fuse.reach(point)

    writer, log = _writer_and_log()
    _around(writer, "commit", at("before_commit"), at("after_commit"))
    _around(log, "truncate", at("before_truncation"), at("after_truncation"))
    _before(shard.Shard, "apply", lambda *_: fuse.reach("after_decode"))
    _before(state_reader.StateReader, "add", lambda *_: fuse.reach("recovery"))
    _before(shard.Shard, "take_slice", lambda *_: fuse.reach("between_slices"))

    def reached_sweep(task: shard_task.ShardTask, *_: object) -> None:
        own = task.shard
        if own.engine.scoring_version not in (0, own.in_force.scoring.version):
            fuse.reach("switch")

    _before(shard_task.ShardTask, "_pass_time", reached_sweep)
    if log.__name__ == "KafkaLog":
        from aiokafka import AIOKafkaProducer

        from stream_app.adapters.log.kafka import writer as writing

        _around(writing, "sent", _nothing, at("after_outputs"))
        _around(AIOKafkaProducer, "send_offsets_to_transaction", at("before_offsets"), at("after_offsets"))
        _around(AIOKafkaProducer, "commit_transaction", at("before_end"), _nothing)


def _take_transactions_out(fuse: _Fuse) -> None:
    """Write what belongs together piece by piece, the state last: what a worker without transactions would do."""
    writer, log = _writer_and_log()
    logs: list[Any] = []
    _before(log, "writer", lambda own, *_: logs.append(own))

    async def commit(own: Any, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        del positions
        firsts = []
        for part in outgoing:
            firsts.append((await logs[-1].bounds(TopicPartition(part.topic, part.partition))).end)
            await logs[-1].append([part])
            if part.topic.endswith("-segment-changes"):
                fuse.reach("after_changes")
        return firsts

    writer.commit = commit


def main() -> None:
    """Lay the fuse and run the command."""
    fuse = _Fuse(os.environ.get("CRASH_POINT", ""), int(os.environ.get("CRASH_COUNT", "1")))
    if "CRASH_ROWS_MAX" in os.environ:
        rows_max = int(os.environ["CRASH_ROWS_MAX"])
        vars(hosting)["WorkerSetup"] = functools.partial(worker.WorkerSetup, rows_max=rows_max)
    if "CRASH_FOREIGN_S" in os.environ:
        vars(recovery)["FOREIGN_TRANSACTION_S"] = float(os.environ["CRASH_FOREIGN_S"])
    if os.environ.get("WITHOUT_TRANSACTIONS") == "1":
        _take_transactions_out(fuse)
    else:
        _lay_fuses(fuse)
    from stream_app.cli import main as run

    sys.argv = ["stream-app", "worker"]
    run()


if __name__ == "__main__":
    main()
