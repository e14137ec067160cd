"""Numbers as JSON."""

from __future__ import annotations

import math

import numpy as np

from stream_app.adapters.codec.wire_text import write_numbers


def test_many_numbers_of_full_length_are_written_whole() -> None:
    """Some versions of orjson overran their buffer here, and the process died later, anywhere."""
    generator = np.random.Generator(np.random.PCG64(3))
    for count in (1, 60, 3_000):
        values = -generator.random(count) * 10.0 ** generator.integers(-300, -100, count)

        assert [float(text) for text in write_numbers(values)] == values.tolist()


def test_what_is_no_number_is_null() -> None:
    assert write_numbers(np.array([1.5, math.nan])) == [b"1.5", b"null"]
