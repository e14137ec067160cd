"""Reasons to bytes: what the terms of a score say, as JSON objects with commas between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.codec.wire_text import write_numbers
from stream_app.domain.reasons import UNTOLD, Scale, Term, explanations

_TEXTS_KEPT = 4096

_Pick = Callable[[tuple[bytes, ...]], tuple[bytes, ...]]


class ReasonWriter:
    """Writes the reasons of the scores of one axis.

    Parameters
    ----------
    terms
        The axis's terms, in their order; at least one.
    currency
        ISO 4217 code of the reporting currency.
    """

    def __init__(self, terms: Sequence[Term], currency: str) -> None:
        self._terms, self._currency = terms, currency
        self._begins = [b'{"term":%b,"contribution":' % orjson.dumps(term.name) for term in terms]
        self._ends = _Ends()
        self._picks = _Picks()

    def write(
        self, term_values: NDArray[np.float64], contributions: NDArray[np.float64], scale: Scale | None
    ) -> list[bytes]:
        """Write the reasons of n scores, those of one with commas between them; parameters as of `explanations`."""
        told = explanations(self._terms, term_values, contributions, self._currency, scale)
        gains, ends = write_numbers(told.gains.reshape(-1)), self._ends
        columns = [
            [begin + gain + ends[text] for gain, text in zip(gains[place :: len(self._begins)], texts, strict=True)]
            for place, (begin, texts) in enumerate(zip(self._begins, told.texts, strict=True))
        ]
        picks = self._picks
        orders = told.orders.view(f"V{told.orders.shape[1]}").reshape(-1).tolist()
        return [
            b",".join(picks[order](reasons)) for order, reasons in zip(orders, zip(*columns, strict=True), strict=True)
        ]


class _Ends(dict[str, bytes]):
    """The end of a reason by its text; many customers are told the same."""

    def __missing__(self, text: str) -> bytes:
        if len(self) >= _TEXTS_KEPT:
            self.clear()
        written = self[text] = b',"text":%b}' % orjson.dumps(text)
        return written


class _Picks(dict[bytes, _Pick]):
    """Functions that pick the reasons to be told, in their order, by a row of `Explanations.orders`."""

    def __missing__(self, row: bytes) -> _Pick:
        order = [place for place in np.frombuffer(row, dtype=np.int8).tolist() if place != UNTOLD]
        pick = self[row] = itemgetter(*order) if len(order) > 1 else lambda reasons: tuple(reasons[p] for p in order)
        return pick
