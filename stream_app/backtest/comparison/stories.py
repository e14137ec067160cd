"""What the two runs say of a few customers: their rows at the end, and their changes with the reasons."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from stream_app.backtest.comparison.crossing import DifferingCustomer, read_customers
from stream_app.backtest.comparison.results import Example, ExampleView
from stream_app.backtest.run import CHANGES_NAME, SEGMENTS_NAME

CHANGES_KEPT_MAX: Final = 1000
"""Of a customer with more changes only the last ones are told."""


class _Who(msgspec.Struct, gc=False):
    """Whose change it is."""

    customer_id: str


def tell_examples(chosen: Sequence[DifferingCustomer], first: Path, second: Path) -> tuple[Example, ...]:
    """Fetch what two runs say of some customers.

    Parameters
    ----------
    chosen
        The customers.
    first, second
        Folders of the two runs.

    Returns
    -------
    tuple[Example, ...]
        In the order of the customers.
    """
    if not chosen:
        return ()
    ids = [each.customer_id for each in chosen]
    views = [_views(folder, ids) for folder in (first, second)]
    return tuple(Example(each, views[0][each.customer_id], views[1][each.customer_id]) for each in chosen)


def read_changes(path: Path, customer_ids: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Read the last changes of a few customers out of a `changes.jsonl`, in their order."""
    told: dict[str, deque[Mapping[str, Any]]] = {each: deque(maxlen=CHANGES_KEPT_MAX) for each in customer_ids}
    decoder = msgspec.json.Decoder(_Who)
    with path.open("rb") as file:
        for line in file:
            # Only whose change it is is decoded of the many that are not wanted.
            kept = told.get(decoder.decode(line).customer_id)
            if kept is not None:
                kept.append(orjson.loads(line))
    return {customer_id: list(changes) for customer_id, changes in told.items()}


def _views(folder: Path, customer_ids: Sequence[str]) -> dict[str, ExampleView]:
    rows = read_customers(folder / SEGMENTS_NAME, customer_ids)
    changes = read_changes(folder / CHANGES_NAME, customer_ids)
    return {each: ExampleView(rows.get(each, {}), changes[each]) for each in customer_ids}
