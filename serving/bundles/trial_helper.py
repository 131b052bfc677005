"""The process that makes trials fast: `python -m serving.bundles.trial_helper FD`, one a node.

It has imported all that a trial needs, and has neither threads of ours nor maps nor secrets, so that a fork of it is a
trial's throw-away process within milliseconds. FD is a socket (SOCK_SEQPACKET) that the node's workers write orders to,
each with the writing end of a pipe for the answer: one byte when it is begun, then how it ended, in a line of JSON. It
ends when nobody can write to the socket any more.
"""

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict

from serving.bundles.trial_child import report_confined
from serving.bundles.trial_fork import run_forked
from serving.bundles.trial_order import Order
from serving.bundles.trial_work import prepare

ORDER_BYTES = 1 << 16
BEGUN = b"+"


def main() -> None:
    """Serve until the socket ends."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a fork that waits for a trial has ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, 4)
        if not data:
            return
        if len(fds) == 1 and os.fork() == 0:
            _wait_for_trial(orders, Order.decode(data), fds[0])
        for fd in fds:
            os.close(fd)


def _wait_for_trial(orders: socket.socket, order: Order, answer: int) -> None:
    """In a process of its own, so that trials do not wait for each other."""
    code = 1
    try:
        orders.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with suppress(BrokenPipeError):
            os.write(answer, BEGUN)
            ended = run_forked(lambda: report_confined(order), order.timeout_s, answer)
            _write(answer, json.dumps(asdict(ended)).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    main()
