"""How long a run takes, as seen when a version is warmed up: its first requests need not be the ones to find out."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from serving.bundles.bundle import Bundle
from serving.bundles.probe import sample_rows
from serving.bundles.session import ModelSession

_ROWS = 16
_QUICK_S = 0.005


class Seen(NamedTuple):
    """A run: so many rows, seconds of a core, and the shape of a row of each input."""

    rows: int
    seconds: float
    shapes: Mapping[str, tuple[int, ...]]


def seen(bundle: Bundle, session: ModelSession) -> Seen | None:
    """Run samples; None where the model does not take any number of rows. ModelError.

    Once more if that is quick: the first run of a size allocates its memory.
    """
    inputs = sample_rows(bundle, session, _ROWS)
    if inputs is None:
        return None
    seconds = _seconds(session, inputs)
    if seconds < _QUICK_S:
        seconds = min(seconds, _seconds(session, inputs))
    return Seen(_ROWS, seconds, {name: array.shape[1:] for name, array in inputs.items()})


def _seconds(session: ModelSession, inputs: Mapping[str, NDArray[Any]]) -> float:
    began = time.thread_time()
    session.run(inputs, None)
    return time.thread_time() - began
