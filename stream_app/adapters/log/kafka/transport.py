"""Faust on a Kafka cluster: the transport behind the scheme `batchkafka`."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from faust.transport import drivers
from faust.transport.drivers import aiokafka as faust_aiokafka

from stream_app.adapters.log.kafka.consumer import BatchConsumer
from stream_app.adapters.log.urls import KafkaUrl

SCHEME: Final = "batchkafka"


class BatchTransport(faust_aiokafka.Transport):
    """Faust's transport for Kafka, with a consumer of batches; its producer is never used for data."""

    Consumer: ClassVar[type[Any]] = BatchConsumer


def register_transport() -> None:
    """Let Faust find this transport by the scheme of its address."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{BatchTransport.__name__}"


def broker_urls(url: KafkaUrl) -> list[str]:
    """Give the addresses of a cluster as Faust takes them."""
    return [f"{SCHEME}://{host}" for host in url.hosts]
