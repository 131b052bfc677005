"""Near-line workers that end, or stop, at a chosen step: python -m tests.end_to_end.nearline.deadly FOLDER.

A line of standard input is one worker: its settings, the group that it joins, the step, which occurrence of the step,
and the signal that the worker then sends itself. Answered by a line with its process id, and then one with how it
ended; or, for SIGSTOP, only by the first, and by the second once the next line came or the input ended.

Workers are forked, before anything has threads, so that each does not have to import everything. What they do is what
`nearline serve` does, but for reporting their state: a stopped worker must not hold the embedded bus's write lock.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from protos.nearline.v1 import status_pb2
from serving.bus.port import Batch
from serving.nearline import consuming
from serving.node.identity import new_identity
from serving.node.nearline import build_nearline
from serving.settings import Settings
from serving.store.port import Change, Cursor, Rank
from serving.telemetry.logs import configure_logs
from tests.store.writing import DeadlyValue

STEPS = (
    "polled",
    "ordered",
    "reading",
    "burying",
    "buried",
    "writing",
    "half written",
    "written",
    "committing",
    "committed",
)
"""In the order in which a batch meets them."""


@dataclass
class Fate:
    """What happens at which occurrence of which step."""

    step: str
    countdown: int
    signal: int

    def meet(self, step: str) -> None:
        """Pass a step, or not."""
        if self.comes(step):
            # To this thread: to the process, it could go on for a moment, and be stopped with a lock in its hand.
            signal.pthread_kill(threading.get_ident(), self.signal)

    def comes(self, step: str) -> bool:
        """Tell whether this is the one."""
        if step == self.step:
            self.countdown -= 1
        return step == self.step and self.countdown == 0


class _Around:
    """Everything else is the wrapped object's."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Bus(_Around):
    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> Any:
        self._fate.meet("burying")
        appended = self._inner.append_many(topic, records)
        self._fate.meet("buried")
        return appended

    def member(self, *given: Any) -> Any:
        return _Member(self._inner.member(*given), self._fate)

    def reader(self, *given: Any, **more: Any) -> Any:
        return _Commands(self._inner.reader(*given, **more), self._fate)


class _Member(_Around):
    def poll(self, timeout_s: float, max_records: int) -> list[Batch]:
        batches: list[Batch] = self._inner.poll(timeout_s, max_records)
        if batches:
            self._fate.meet("polled")
        return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        self._fate.meet("committing")
        self._inner.commit(offsets)
        self._fate.meet("committed")


class _Commands(_Around):
    def poll(self, timeout_s: float) -> list[Batch]:
        batches: list[Batch] = self._inner.poll(timeout_s)
        if batches:
            self._fate.meet("ordered")
        return batches


class _Store(_Around):
    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> Any:
        self._fate.meet("reading")
        return self._inner.read(shard, space, keys)

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        if new == expected:  # marks and fills; the chosen steps are those of a batch
            self._inner.write(shard, expected, new, changes)
            return
        if self._fate.comes("half written"):
            self._write_half(shard, expected, new, changes)
        self._inner.write(shard, expected, new, changes)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Whoever stops inside of LMDB's transaction stops every other writer, too: that is the supervisor's to end."""
        self._fate.meet("writing")
        with self._inner.together():
            yield
        self._fate.meet("written")

    def _write_half(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """LMDB: in the middle of the transaction. Redis: the script was sent, and nobody hears how it went."""
        client: Any = getattr(self._inner, "_client", None)
        if client is None:
            half = len(changes) // 2
            end = Change(b"s", b"end", DeadlyValue(b"end"))
            self._inner.write(shard, expected, new, [*changes[:half], end, *changes[half:]])
            return
        client.evalsha = client.eval = _sent_and_no_more(client)
        self._inner.write(shard, expected, new, changes)


def _sent_and_no_more(client: Any) -> Any:
    def send(*command: Any) -> None:
        connection = client.connection_pool.get_connection()
        connection.send_command("EVALSHA", *command)
        os.kill(os.getpid(), signal.SIGKILL)

    return send


def work(said: Mapping[str, Any]) -> None:
    """Be a worker until the end."""
    settings = Settings.model_validate_json(said["settings"])
    settings.data_dir.mkdir(parents=True, exist_ok=True)  # as a supervisor does
    configure_logs("json", "info", node=settings.node, worker=said["group"])
    fate = Fate(said["step"], said["occurrence"], said["signal"])
    process = build_nearline(settings, new_identity(settings, "nearline-0", status_pb2.NEARLINE))
    consuming._COMMIT_S = 0.02  # a step like the others: it has to come
    worker = process.worker
    connect, open_store, group = worker._connect, worker._open_store, worker._group
    worker._connect = lambda: _Bus(connect(), fate)
    worker._open_store = lambda: _Store(open_store(), fate)
    worker._group = replace(group, name=group.name + said["group"])
    process.models.deployer.start()
    process.models.ledger.start()
    while not process.models.deployer.wait_settled(1.0):
        pass
    worker.start()
    signal.pause()


@contextmanager
def _log(path: Path) -> Iterator[None]:
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        yield


def main(folder: Path) -> None:
    """Fork a worker for each line."""
    for line in sys.stdin:
        said = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with _log(folder / "deadly.log"):
                try:
                    work(said)
                finally:
                    os._exit(1)
        _tell(pid)
        if said["signal"] == signal.SIGKILL:
            _, status = os.waitpid(pid, 0)
            _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
