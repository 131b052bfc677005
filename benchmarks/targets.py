"""Runs one target: `python -m benchmarks.targets P5`; further arguments go to its benchmark. Without any: the list."""

import runpy
import sys

from benchmarks.result import say

TARGETS = {
    "P5": "benchmarks.nearline_throughput",
    "P6": "benchmarks.nearline_freshness",
    "backfill": "benchmarks.backfill",
    "stores": "benchmarks.stores",
    "hot_path": "benchmarks.hot_path",
}


def main() -> None:
    """Run the one that is named."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:  # noqa: PLR2004 - the program's name and a target
        say("usage: python -m benchmarks.targets TARGET [OPTIONS]")
        for name, module in TARGETS.items():
            say(f"  {name:<9} {module}")
        raise SystemExit(2)
    module = TARGETS[sys.argv.pop(1)]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
