"""Prints for how many types each compiled function has code: after compiling everything, and after backtests."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from stream_app import domain
from stream_app.adapters.codec import flat_numbers, flat_scan
from stream_app.adapters.policy_file import load_policy
from stream_app.engine.compilation import compile_all
from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import backtest_changes, sales_of

MODULES = [
    flat_numbers,
    flat_scan,
    *(import_module(f"{domain.__name__}.{own.name}") for own in iter_modules(domain.__path__)),
]


def counts() -> dict[str, int]:
    return {
        f"{module.__name__}.{name}": len(own.signatures)
        for module in MODULES
        for name, own in vars(module).items()
        if hasattr(own, "signatures")
    }


def main(folder: str) -> None:
    compile_all()
    flat_scan.compile_scan()
    before = counts()
    sales = sales_of(ShopSettings(customers=150, days=140, seed=2))
    for count in (1, 2, len(sales)):
        backtest_changes(sales[:count], Path(folder) / str(count), load_policy(None))
    print(json.dumps([before, counts()]))


if __name__ == "__main__":
    main(sys.argv[1])
