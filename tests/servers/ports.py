"""Free ports of this machine."""

import itertools
import os
import socket

_FIRST, _LAST = 12_000, 32_000
"""Below those that systems give to connections and to who asks for any port: one is still free when it is taken, or
taken again after its server was away."""
_EACH = 50
_next = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now, and that neighbouring processes are not given."""
    first = _FIRST + os.getpid() * _EACH % (_LAST - _FIRST)
    while True:
        port = first + next(_next) % _EACH
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
