"""`python -m benchmarks`: run benchmarks one after the other and print their table."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement
from benchmarks.suite import BENCHMARKS, run_isolated
from benchmarks.table import render, update_document


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; gives 1 if a benchmark failed to run, whatever it measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed and memory on one core.")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, and no more")
    parser.add_argument("--update-docs", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.update_docs and (options.quick or options.only):
        parser.error("--update-docs needs all benchmarks at their full size: leave out --quick and --only")

    machine = describe_machine()
    rows: list[Measurement] = []
    failed = []
    for name in options.only or BENCHMARKS:
        started = time.perf_counter()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            rows += run_isolated(name, is_quick=options.quick)
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"failed: exit code {error.returncode}", file=sys.stderr)
        else:
            print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    table = render(rows, machine, is_full=not options.quick)
    print(table)
    if options.update_docs and not failed:
        update_document(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
