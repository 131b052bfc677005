"""What a node itself counted: calls of a method by status."""

import time
from collections import Counter
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.loads import said
from serving.settings import Settings

_PATIENCE_S, _LOOK_S, _TOLD_S = 10.0, 0.2, 2.5
"""Workers tell their counters every second."""


def counted(settings: Settings, method: str) -> Counter[str]:
    """Return calls of a method by the name of their status, over all workers; about a second old."""
    with urlopen(str(said(settings)["metrics"]), timeout=10) as answer:  # noqa: S310 - the node's own address
        families = list(text_string_to_metric_families(answer.read().decode()))
    counts: Counter[str] = Counter()
    for family in families:
        for sample in family.samples:
            if sample.name == "nearline_requests_total" and sample.labels["method"] == method:
                counts[sample.labels["code"]] += int(sample.value)
    return counts


def settled(settings: Settings, method: str) -> Counter[str]:
    """Return the same once every call that has ended is in it."""
    time.sleep(_TOLD_S)
    return counted(settings, method)


def since(settings: Settings, method: str, before: Counter[str], expected: int) -> dict[str, int]:
    """Return what was counted since then, once it is as many as expected, or does not become so."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = counted(settings, method)
        found.subtract(before)
        if sum(found.values()) >= expected or time.monotonic() > deadline:
            return {code: count for code, count in found.items() if count}
        time.sleep(_LOOK_S)
