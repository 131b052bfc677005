"""What the runtime says of a graph, and whether it survives it: for publishers, before there is a bundle to be tried.

The graph is opened in the process of a trial, so that whatever it does to that process is an error here.
"""

from pathlib import Path
from typing import NamedTuple

from serving.bundles.manifest import Tensor
from serving.bundles.trial import carry_out
from serving.bundles.trial_local import local_helper
from serving.bundles.trial_order import Order

HELPER_S = 60.0
"""The first trial waits for the helper to be started."""


class Bounds(NamedTuple):
    """Seconds that it may take, and memory beside the graph's own size."""

    timeout_s: float = 60.0
    memory_bytes: int = 8 << 30


class Signature(NamedTuple):
    """What a graph takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def look_at(folder: Path, bounds: Bounds = Bounds()) -> Signature:  # noqa: B008 - a tuple
    """Open the graph in a folder as bundles have it, and run the samples beside it, if there are any.

    ModelError: LOAD when it cannot be loaded or run; CRASH, TIMEOUT or RESOURCE when it ends the process.
    """
    order = Order.of(folder, *bounds, look=True)
    said = carry_out(order, helper=local_helper.socket(), begin_s=HELPER_S)
    return Signature(*(tuple(Tensor(**one) for one in said[part]) for part in ("inputs", "outputs")))
