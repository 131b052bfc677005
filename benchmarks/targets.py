"""Runs one target: `python -m benchmarks.targets P5`; further arguments go to its benchmark. Without any: the list."""

import runpy
import sys

from benchmarks.result import say

TARGETS = {
    "P1": "benchmarks.rpc_hits",
    "P2": "benchmarks.rpc_hits --tls",
    "P3": "benchmarks.online_infer",
    "P4": "benchmarks.online_recommend",
    "P5": "benchmarks.nearline_throughput",
    "P6": "benchmarks.nearline_freshness",
    "P7": "benchmarks.publish_to_ready",
    "P8": "benchmarks.hot_swap",
    "P9": "benchmarks.shared_memory",
    "P10": "benchmarks.many_swaps",
    "P11": "benchmarks.two_workers",
    "agreement": "benchmarks.agreement",
    "overload": "benchmarks.overload",
    "backfill": "benchmarks.backfill",
    "profile": "benchmarks.nearline_profile",
    "stores": "benchmarks.stores",
    "hits_redis": "benchmarks.rpc_hits --redis",
    "hot_path": "benchmarks.hot_path",
}


def main() -> None:
    """Run the one that is named."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:  # noqa: PLR2004 - the program's name and a target
        say("usage: python -m benchmarks.targets TARGET [OPTIONS]")
        for name, module in TARGETS.items():
            say(f"  {name:<10} {module}")
        raise SystemExit(2)
    module, *options = TARGETS[sys.argv.pop(1)].split()
    sys.argv[1:1] = options
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
