"""What processes hold in memory, as Linux counts it."""

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_LINE = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_PRIVATE = ("Private_Clean", "Private_Dirty")


def held(processes: Iterable[psutil.Process]) -> dict[str, int]:
    """Return bytes over all of them.

    `pss` counts a page that n processes share as an n-th in each, so that the sum is what they take together;
    `private` is what none shares; `rss` counts shared pages in every process.
    """
    total = {"pss": 0, "private": 0, "rss": 0}
    for process in processes:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        found = {name: int(kilobytes) << 10 for name, kilobytes in _LINE.findall(text)}
        total["pss"] += found["Pss"]
        total["rss"] += found["Rss"]
        total["private"] += sum(found[name] for name in _PRIVATE)
    return total
