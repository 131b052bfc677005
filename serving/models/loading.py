"""Loads in the background: a thread for each, so that a slow or bad model never delays another."""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import structlog

from protos.nearline.v1 import status_pb2
from protos.records import Announced
from serving.errors import ModelError
from serving.models.lifecycle import NotWantedError, State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader

log = structlog.get_logger()

_NICE = 10
_ANSWER_S = 10.0
_LOOK_S = 0.1

AskRoom = Callable[[int, Callable[[bool], None]], None]
"""Asks for so many bytes of memory more; the answer comes from another thread."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between retries of a failed load: `first`, doubled each time, up to `most`."""

    first: float
    most: float

    def after(self, attempts: int) -> float:
        """Seconds to wait after that many attempts."""
        return float(min(self.most, self.first * 2 ** min(attempts - 1, 32)))


_CHECK_AGAIN = Backoff(1.0, 60.0)


def load_in_background(
    loader: Loader,
    model: str,
    announced: Announced,
    retrial: int,
    *,
    wanted: Callable[[], bool],
    entered: Callable[[State], None],
    ask_room: AskRoom,
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
        _give_way(state)
        entered(state)

    def make_room(short_bytes: int) -> bool:
        answer = Future[bool]()
        ask_room(short_bytes, answer.set_result)
        return _answered(answer, wanted)

    def run() -> None:
        try:
            loaded = loader.load(model, announced, retrial, enter, wanted, make_room)
        except NotWantedError:
            return
        except ModelError as error:
            # It is kept for as long as the instance has failed: the frames that it came from, and all that is in them,
            # must not be.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            failed(error)
        except OSError as error:
            log.error("load.unreadable", model=model, version=announced.version, error=str(error))
            failed(ModelError(status_pb2.DISK, f"{error.filename or 'disk'}: {error.strerror or error}"))
        except Exception as error:
            log.exception("load.defect", model=model, version=announced.version)
            failed(ModelError(status_pb2.INTERNAL, f"{type(error).__name__}: {error}"))
        else:
            ready(loaded)

    threading.Thread(target=run, name=f"load {model}/{announced.version}", daemon=True).start()


def _give_way(state: State) -> None:
    """Have this thread wait for others on a core that both need: a load may take longer, answers may not.

    Not while others of the node wait for it, as for a bundle that it fetches, or for its trial.
    """
    if state is State.LOADING and sys.platform == "linux":  # elsewhere all threads of a process have one niceness
        thread = threading.get_native_id()
        with suppress(OSError):  # forbidden, as in some sandboxes
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def _answered(answer: Future[bool], wanted: Callable[[], bool]) -> bool:
    """Wait for it; NotWantedError."""
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        if not wanted():
            raise NotWantedError
        try:
            return answer.result(_LOOK_S)
        except TimeoutError:
            continue
    return False


def check_in_background(
    check: Callable[[], None], *, wanted: Callable[[], bool], refused: Callable[[ModelError], None]
) -> None:
    """Start a check; `refused` is called, on its own thread, with the error of one that trying again cannot help.

    One that could not be made is made again, with growing pauses, for as long as it is wanted.
    """

    def run() -> None:
        attempts = 0
        while wanted():
            try:
                check()
            except ModelError as error:
                if error.rejected:
                    refused(error)
                    return
                why = str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the bundle is unchecked
                why = f"{type(error).__name__}: {error}"
            else:
                return
            attempts += 1
            pause_s = _CHECK_AGAIN.after(attempts)
            log.error("bundle.unchecked", error=why, action="it goes on serving", again_in_s=pause_s)
            time.sleep(pause_s)

    threading.Thread(target=run, name="trust", daemon=True).start()
