"""Runs work in a fork of this process, waits for it, and ends it when its time is over or nobody wants it any more.

For a process of one thread that holds nothing of value: what it has in memory, the fork has too. Linux.
"""

import contextlib
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from serving.bundles.confinement.kernel import die_with_parent
from serving.bundles.trial_order import Ended

_KEPT = 1 << 20
"""The last bytes of what it says are kept: a report names every input and output of a model, which may be thousands."""


def run_forked(work: Callable[[], None], timeout_s: float, wanted_fd: int) -> Ended:
    """Return how it ended, with what it wrote to standard output and error.

    wanted_fd: the writing end of a pipe; when nobody holds the reading end any more, the work is not wanted.
    """
    out, to_out = os.pipe()
    err, to_err = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(work, parent, to_out, to_err)
    os.close(to_out)
    os.close(to_err)
    said = {out: b"", err: b""}
    try:
        ended = _listen(pid, said, time.monotonic() + timeout_s, wanted_fd)
    finally:
        for kill in (os.killpg, os.kill):  # it may not have become a group yet
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        for fd in said:
            os.close(fd)
    code = os.waitstatus_to_exitcode(status) if ended else None
    return Ended(code, said[out].decode(errors="replace"), said[err].decode(errors="replace"))


def _be_child(work: Callable[[], None], parent: int, out: int, err: int) -> NoReturn:
    """Hold nothing but standard input, output and error, do the work, and end without cleaning up after the parent."""
    code = 1
    try:
        os.setsid()
        die_with_parent(signal.SIGKILL, parent)
        for fd, name in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(fd, name)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - this process ends here, and says why
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _listen(pid: int, said: dict[int, bytes], deadline: float, wanted_fd: int) -> bool:
    """Read what it says until it has ended; False when its time was over, or nobody wants it any more."""
    ended = os.pidfd_open(pid)
    try:
        poll = select.poll()
        for fd in (*said, ended):
            poll.register(fd, select.POLLIN)
        poll.register(wanted_fd, 0)
        while (left_s := deadline - time.monotonic()) > 0:
            happened = dict(poll.poll(left_s * 1000))
            if wanted_fd in happened:
                return False
            for fd in said.keys() & happened.keys():
                more = os.read(fd, _KEPT)
                said[fd] = (said[fd] + more)[-_KEPT:]
                if not more:
                    poll.unregister(fd)
            if happened.keys() == {ended}:  # and nothing is left to be read
                return True
        return False
    finally:
        os.close(ended)
