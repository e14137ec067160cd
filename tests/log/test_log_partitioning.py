"""Keys land where Kafka's clients put them."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.log.partitioning import partitions_of


@given(st.lists(st.binary(max_size=40), max_size=50), st.integers(min_value=1, max_value=1000))
def test_keys_land_where_kafka_clients_put_them(keys: list[bytes], partition_count: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % partition_count for key in keys]
    assert partitions_of(keys, partition_count).tolist() == expected
