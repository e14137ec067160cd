"""The Faust app, the same on every log: agents that hand lists of raw records to the runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import faust
from faust.app.base import BootStrategy

from stream_app.adapters.faust_worker import Ending, HostWorker
from stream_app.adapters.log.delivery import (
    END_HEADER,
    EXIT_DEFECT,
    EXIT_REFUSED,
    EXIT_TRY_AGAIN,
    POSITION_HEADER,
)
from stream_app.adapters.log.errors import LogError, UnusableLogError
from stream_app.adapters.log.kafka.clients import HEARTBEAT_MS, SESSION_TIMEOUT_MS
from stream_app.adapters.log.kafka.transport import broker_urls, register_transport
from stream_app.adapters.log.port import TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import KafkaUrl, LogUrl
from stream_app.adapters.ownership import Ownership, Reach, Runtime
from stream_app.domain.errors import StreamAppError

End = Callable[[int, str], None]
OpenRuntime = Callable[[End], Awaitable[Runtime]]

BUFFERED_BATCHES_MAX: Final = 2
"""Batches between transport and agent; they are large, and with 64 of them the median latency was 650 ms."""
_MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class Hosting:
    """What an app is built of.

    Parameters
    ----------
    url
        Of the log.
    topics
        Names of the topics; the application's name is that of the group as well.
    open_runtime
        Makes the runtime when the event loop runs, given a function that ends the process with a code and a reason.
    sets_up_logging
        True: whoever builds the app has set up logging, and Faust leaves it alone.
    """

    url: LogUrl
    topics: Topics
    open_runtime: OpenRuntime
    sets_up_logging: bool = False


class _Boot(BootStrategy):
    """Starts neither Faust's web server, which shows state to everybody, nor its producer, which nobody uses."""

    enable_web = False
    enable_kafka_producer = False


class HostedApp(faust.App):
    """Hosts a runtime: lifecycle, group membership and flow of batches are Faust's."""

    BootStrategy = _Boot

    hosting: Hosting
    ending: Ending
    ownership: Ownership | None = None

    @property
    def sets_up_logging(self) -> bool:
        """Tell whether Faust has to leave logging alone."""
        return self.hosting.sets_up_logging

    async def on_start(self) -> None:
        """Open the runtime before anything is subscribed to."""
        await super().on_start()
        try:
            runtime = await self.hosting.open_runtime(self.ending.call)
        except (StreamAppError, LogError) as error:
            # Something that a person has to mend: it is told in a line each, without a traceback.
            reason = "; ".join([str(error), *getattr(error, "faults", ())])
            self.ending.call(EXIT_REFUSED, reason)
            await self.wait_until_stopped()
            return
        self.ownership = Ownership(self.hosting.topics, runtime)
        self.add_future(self._guarded(runtime.run(), "the runtime"))
        self.add_future(self._guarded(self.ownership.make_room(self._source), "the flow of records"))

    def _create_directories(self) -> None:
        """Create none: there are no tables of Faust's."""

    async def _guarded(self, work: Awaitable[None], what: str) -> None:
        """Run something without which the process must not go on."""
        try:
            await work
        except Exception as error:
            self.log.exception("%s failed", what)
            self.ending.call(EXIT_DEFECT, f"{what}: {error!r}")

    async def take_assignment(self, *_arguments: Any, **_named: Any) -> None:
        """Take over what the group has assigned; Faust lets records flow again when this returns.

        It runs beside the group's heartbeats, so that a recovery may take longer than a session.
        """
        assert self.ownership is not None
        generation = self.consumer_generation_id
        assigned = {TopicPartition(*partition) for partition in self.consumer.assignment()}
        try:
            await self.ownership.take(assigned, generation, self._source)
        except (StreamAppError, LogError) as error:
            # The runtime has said already how the process ends, unless the error is of the assignment itself.
            code = EXIT_REFUSED if isinstance(error, StreamAppError | UnusableLogError) else EXIT_TRY_AGAIN
            self.ending.call(code, f"partitions could not be taken over: {error}")
            await self.wait_until_stopped()
        except Exception as error:
            self.log.exception("partitions could not be taken over")
            self.ending.call(EXIT_DEFECT, f"partitions could not be taken over: {error!r}")
            raise

    async def stop_runtime(self, *_arguments: Any, **_named: Any) -> None:
        """Finish what runs, while this process is still a member of the group."""
        if self.ownership is not None:
            await self.ownership.stop()

    async def hand_over(self, event: Any) -> None:
        """Hand the records of an event to the runtime."""
        assert self.ownership is not None
        start, end = event.headers.get(POSITION_HEADER), event.headers.get(END_HEADER)
        # A log that does not tell both has deliveries of its own making, without holes to count.
        reach = Reach() if start is None or end is None else Reach(int(start), int(end))
        await self.ownership.hand_over(TopicPartition(*event.message.tp), reach, event.value, self._source)

    @property
    def _source(self) -> Any:
        return self.consumer


def build_app(hosting: Hosting) -> HostedApp:
    """Build the app; nothing is connected to before it is started.

    Parameters
    ----------
    hosting
        What it is built of.

    Returns
    -------
    HostedApp
        For a Faust worker.
    """
    app = HostedApp(
        hosting.topics.app,
        broker=_broker(hosting.url),
        # Nothing goes over Faust's tables, and a leader's topic would be one more to create.
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        # Its web pages show what is in memory to whoever asks.
        web_enabled=False,
        # Replaces stdout and stderr of the process by its logger.
        worker_redirect_stdouts=False,
        stream_buffer_maxsize=BUFFERED_BATCHES_MAX,
        # Nothing is acknowledged, so there would be nothing to wait for but time to pass.
        stream_wait_empty=False,
        broker_session_timeout=SESSION_TIMEOUT_MS / _MS_PER_S,
        broker_heartbeat_interval=HEARTBEAT_MS / _MS_PER_S,
        Worker=HostWorker,
    )
    app.hosting = hosting
    app.ending = Ending()
    app.on_rebalance_complete.connect(app.take_assignment)
    app.on_before_shutdown.connect(app.stop_runtime)
    for name in (hosting.topics.events, hosting.topics.ticks, hosting.topics.learner_input):
        topic = app.topic(name, key_serializer="raw", value_serializer="raw", acks=False)
        app.agent(topic, name=f"hand-over-{name}")(_agent(app))
    return app


def _broker(url: LogUrl) -> list[str]:
    if isinstance(url, KafkaUrl):
        register_transport()
        return broker_urls(url)
    import_module("stream_app.adapters.log.sqlite.transport").register_transport()
    return [url.broker_url]


def _agent(app: HostedApp) -> Callable[[Any], Awaitable[None]]:
    async def hand_over(stream: Any) -> None:
        """Hand over what comes; an error ends the process, since Faust would go on behind what failed."""
        async for event in stream.noack().events():
            try:
                await app.hand_over(event)
            except Exception as error:
                app.log.exception("records could not be handed over")
                app.ending.call(EXIT_DEFECT, f"records could not be handed over: {error!r}")
                raise

    return hand_over
