"""Sessions that tests hold, in front of a real one."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from serving.bundles.datatypes import DATATYPES, numpy_dtype
from serving.bundles.session import ModelSession
from serving.models.loaded import LoadedModel
from tests.builders.waiting import DEADLINE_S


class HeldSession:
    """Runs only when `gate` is set, and tells of every run. A real session is over before anybody could look."""

    def __init__(self, session: ModelSession) -> None:
        self._session = session
        self.inputs = session.inputs
        self.outputs = session.outputs
        self.gate = threading.Event()
        self.runs: list[int] = []
        self._began = threading.Event()

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None) -> list[NDArray[Any]]:
        self.runs.append(len(next(iter(inputs.values()))))
        self._began.set()
        assert self.gate.wait(DEADLINE_S)
        return self._session.run(inputs, outputs)

    async def wait_run(self) -> None:
        """Return when a run has begun, without blocking the event loop."""
        assert await asyncio.to_thread(self._began.wait, DEADLINE_S)

    def close(self) -> None:
        self._session.close()


def held(loaded: LoadedModel) -> tuple[LoadedModel, HeldSession]:
    """The same model behind a gate."""
    session = HeldSession(loaded.session)
    other = LoadedModel(loaded.model, loaded.version, loaded.digest, loaded.bundle, cast("ModelSession", session))
    return other, session


def datatype_of(array: NDArray[Any]) -> str:
    """The datatype of an array."""
    return next(name for name in DATATYPES if numpy_dtype(name) == array.dtype)


def x(*rows: float) -> dict[str, NDArray[Any]]:
    """Input of the doubler, [len(rows), 2]."""
    return {"x": np.array([[row, row] for row in rows], np.float32)}
