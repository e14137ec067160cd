"""The CDNOW log of real purchases is read whole, and as its publishers describe it."""

from __future__ import annotations

from pathlib import Path

from tests.event_files.logs import hold_rows_add_up, open_log


def test_the_cdnow_log_is_read_whole(cdnow_events_path: Path) -> None:
    with open_log(cdnow_events_path) as log:
        hold_rows_add_up(log.counts)
        assert log.counts.event_count == log.counts.rows_read == 69_659
        assert (log.first_time_ms, log.last_time_ms) == (852_076_800_000, 899_164_800_000)
        batches = list(log.batches())
        assert len({customer_id for batch in batches for customer_id in batch.customer_ids.tolist()}) == 23_570
        assert round(sum(float(batch.amounts.sum()) for batch in batches)) == 2_500_316
        assert batches[0].customer_ids[0] == b"00001"
