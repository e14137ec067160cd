"""Count and sum by customer with Quix Streams, exactly once; runs in an environment of its own."""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]


def main() -> None:
    """Run it; arguments: bootstrap servers, application name, topic of events, topic of outputs, data folder."""
    bootstrap, name, events, outputs, folder = sys.argv[1:6]
    app = Application(
        broker_address=bootstrap,
        consumer_group=name,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=0.1,
        state_dir=folder,
        auto_create_topics=True,
        loglevel="WARNING",
    )
    source = app.topic(events, value_deserializer="json", key_deserializer="bytes")
    sink = app.topic(outputs, value_serializer="json", key_serializer="bytes")
    seen = 0

    def count(event: dict[str, Any], state: Any) -> dict[str, Any]:
        nonlocal seen
        known = state.get("totals", [0, 0.0])
        totals = [known[0] + 1, known[1] + float(event["amount"])]
        state.set("totals", totals)
        seen += 1
        return {"is_told": seen % 4 == 0, "count": totals[0], "sum": totals[1]}

    frame = app.dataframe(source)
    frame = frame.apply(count, stateful=True)
    frame = frame.filter(lambda told: told["is_told"])
    frame.to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
