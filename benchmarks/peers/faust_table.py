"""Count and sum by customer with a Faust app as its documentation shows it: an agent, a table, an output topic."""

from __future__ import annotations

import sys
from typing import Any

import faust


def main() -> None:
    """Run the app; arguments: bootstrap servers, application name, topic of events, topic of outputs, data folder."""
    bootstrap, name, events, outputs, folder = sys.argv[1:6]
    app = faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        value_serializer="json",
        key_serializer="raw",
        topic_partitions=4,
        topic_replication_factor=1,
        table_standby_replicas=0,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=folder,
    )
    source = app.topic(events, key_type=bytes)
    sink = app.topic(outputs, key_type=bytes)
    totals = app.Table("totals", default=list, key_type=bytes, partitions=4)

    @app.agent(source)
    async def count(stream: Any) -> None:
        seen = 0
        async for key, event in stream.items():
            known = totals[key] or [0, 0.0]
            totals[key] = [known[0] + 1, known[1] + float(event["amount"])]
            seen += 1
            if seen % 4 == 0:
                await sink.send(key=key, value={"count": known[0] + 1, "sum": known[1]})

    sys.argv = ["faust", "worker", "-l", "warn"]
    app.main()


if __name__ == "__main__":
    main()
