"""A trial helper of this process' own, for publishers: started by the first trial, ended with this process.

The first trial takes as long as ever, and whoever publishes many models waits for no interpreter again.
"""

import atexit
import socket
import subprocess
import sys
import threading

from serving.bundles.trial_order import bare_environment

_END_S = 5.0


class LocalHelper:
    """Keeps one helper, started again once it has ended. Any thread; a fork of this process starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None

    def socket(self) -> socket.socket | None:
        """What orders are written to; None where trials cannot be forked (not Linux)."""
        if sys.platform != "linux":
            return None
        with self._lock:
            if self._orders is None or self._process is None or self._process.poll() is not None:
                self._close()
                self._start()
            return self._orders

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._close()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.bundles.trial_helper", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=bare_environment(),
                start_new_session=True,
            )

    def _close(self) -> None:
        if self._orders is not None:
            self._orders.close()
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._orders = self._process = None


local_helper = LocalHelper()
atexit.register(local_helper.close)
