"""The process that workers are forked from: `python -m serving.supervisor.fork_server FD`, one a node.

It has imported what a worker needs, and does nothing with it: a worker is there within milliseconds, where importing
takes a second of processor time, and all workers share the memory of what was imported. FD is a socket (SOCK_SEQPACKET)
from the supervisor. An order is a worker's arguments in JSON, with descriptors: its standard input, its pipe to the
supervisor, a pipe for us to answer on, and, if it is to have one, its socket to the trial helper. The answer is a line
with the worker's process id, and one with its exit code (signals are negative) when it has ended.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from serving.supervisor import child

ORDER_BYTES = 1 << 16
_LEAST_FDS, _MOST_FDS = 3, 4
_ANSWER = 2


def main() -> None:
    """Fork workers until the supervisor is gone; return in each of them, too, when it has served."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    answers: dict[int, int] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: _tell_ended(answers))
    gc.collect()
    gc.freeze()  # a collection would write to all pages that are shared
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, _MOST_FDS)
        if not data:
            return
        if len(fds) < _LEAST_FDS or _given_up(fds[_ANSWER]):
            _close(fds)
            continue
        arguments: list[str] = json.loads(data)
        stdin, beat, answer, *trials = fds
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # it may end before we know who it is
        try:
            pid = os.fork()
        except OSError as error:  # no process to be had; who waits is told by the end of its pipe
            sys.stderr.write(f"fork server: {error}\n")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _close(fds)
            continue
        if pid == 0:
            orders.close()
            _close((answer, *answers.values()))
            _be_worker(arguments, stdin, beat, trials)
            return
        answers[pid] = answer
        with suppress(BrokenPipeError):
            os.write(answer, b"%d\n" % pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        _close((stdin, beat, *trials))


def _be_worker(arguments: list[str], stdin: int, beat: int, trials: list[int]) -> None:
    """Be what `python -m serving.supervisor.child` would be, in a session of its own."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    with suppress(OSError):
        Path("/proc/self/comm").write_text(arguments[1])  # what `top` and `ps -e` show
    os.dup2(stdin, 0)
    os.close(stdin)
    if beat != child.BEAT_FD:
        trials = [os.dup(fd) if fd == child.BEAT_FD else fd for fd in trials]
        os.dup2(beat, child.BEAT_FD)
        os.close(beat)
    sys.argv = [sys.argv[0], *arguments, *map(str, trials)]
    child.main()


def _given_up(answer: int) -> bool:
    """Tell whether nobody waits for the answer any more: the order is from before, and was carried out otherwise."""
    poll = select.poll()
    poll.register(answer, 0)
    return bool(poll.poll(0))


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _tell_ended(answers: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        answer = answers.pop(pid)
        with suppress(BrokenPipeError):
            os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(answer)


if __name__ == "__main__":
    main()
