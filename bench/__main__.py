"""Run every benchmark, or those that are named, print one table, and write `bench/results.json`."""

import argparse
import dataclasses
import importlib
import json
import pkgutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench
from bench.row import Row

HERE = Path(__file__).parent
NO_BENCHMARKS = {"__main__", "row", "empty_server"}


def main() -> int:
    """The table; the exit status is 1 where a bound does not hold."""
    names = sorted({each.name for each in pkgutil.iter_modules(bench.__path__)} - NO_BENCHMARKS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"one of {', '.join(names)}; all if none")
    chosen = parser.parse_args().benchmarks or names
    if unknown := set(chosen) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: no such benchmark; there are {', '.join(names)}")
    console, rows = Console(), list[Row]()
    for module in chosen:
        with console.status(f"running {module}"):
            rows += importlib.import_module(f"bench.{module}").rows()
    table = Table("name", "value", "unit", "bound", "holds", "how", box=None)
    for row in rows:
        table.add_row(row.name, f"{row.value:.3g}", row.unit, f"{row.bound:g}", "yes" if row.holds else "NO", row.how)
    console.print(table)
    results = [{**dataclasses.asdict(row), "holds": row.holds} for row in rows]
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
