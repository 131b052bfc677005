"""How long a run takes, as seen when a version is warmed up: its first requests need not be the ones to find out."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from serving.bundles.bundle import Bundle
from serving.bundles.probe import all_rows
from serving.bundles.session import ModelSession
from serving.errors import ModelError


class Seen(NamedTuple):
    """A run: so many rows, seconds of a core, and the shape of a row of each input."""

    rows: int
    seconds: float
    shapes: Mapping[str, tuple[int, ...]]


def seen(bundle: Bundle, session: ModelSession) -> Seen | None:
    """Run all samples, as warming up and the trial have; None where the model does not take any number of rows."""
    inputs = all_rows(bundle, session)
    if inputs is None:
        return None
    began = time.thread_time()
    try:
        session.run(inputs, None)
    except ModelError:
        return None  # nobody depends on it
    seconds = time.thread_time() - began
    rows = min(map(len, inputs.values()))
    return Seen(rows, seconds, {name: array.shape[1:] for name, array in inputs.items()})
