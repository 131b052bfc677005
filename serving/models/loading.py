"""Loads in the background: a thread for each, so that a slow or bad model never delays another."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protos.nearline.v1 import status_pb2
from protos.records import Announced
from serving.errors import ModelError
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader, NotWantedError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between retries of a failed load: `first`, doubled each time, up to `most`."""

    first: float
    most: float

    def after(self, attempts: int) -> float:
        """Seconds to wait after that many attempts."""
        return float(min(self.most, self.first * 2 ** min(attempts - 1, 32)))


def load_in_background(
    loader: Loader,
    model: str,
    announced: Announced,
    retrial: int,
    *,
    wanted: Callable[[], bool],
    entered: Callable[[State], None],
    ready: Callable[[LoadedModel], None],
    failed: Callable[[ModelError], None],
) -> None:
    """Start a load.

    It tells each state that it enters, and in the end one of `ready` and `failed`, unless nobody wants it any more.
    All of them are called on the load's own thread.
    """

    def enter(state: State) -> None:
        if not wanted():
            raise NotWantedError
        entered(state)

    def run() -> None:
        try:
            loaded = loader.load(model, announced, retrial, enter, wanted)
        except NotWantedError:
            return
        except ModelError as error:
            failed(error)
        except Exception as error:
            log.exception("load.defect", model=model, version=announced.version)
            failed(ModelError(status_pb2.INTERNAL, f"{type(error).__name__}: {error}"))
        else:
            ready(loaded)

    threading.Thread(target=run, name=f"load {model}/{announced.version}", daemon=True).start()
