"""Faust on an embedded log: the transport behind the scheme `sqlite`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, ClassVar, Final

from faust.transport import base, drivers

from stream_app.adapters.log.sqlite.consumer import SqliteConsumer
from stream_app.adapters.log.sqlite.producer import SqliteProducer

SCHEME: Final = "sqlite"


class SqliteTransport(base.Transport):
    """Faust's broker in one SQLite file; there is one worker, so it owns every partition.

    A batch transport: the consumer gives one event per partition and poll, whose value is the list of its records.
    Positions come from those who recover: they `seek` while partitions are assigned. Faust commits nothing.
    """

    Consumer: ClassVar[type[Any]] = SqliteConsumer
    Producer: ClassVar[type[Any]] = SqliteProducer

    default_port = 0
    driver_version = f"sqlite={sqlite3.sqlite_version}"

    @property
    def path(self) -> Path:
        """The file of the log, from the address that `SqliteUrl.broker_url` wrote."""
        return Path(self.url[0].path)


def register_transport() -> None:
    """Let Faust find this transport by the scheme of its address."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{SqliteTransport.__name__}"
