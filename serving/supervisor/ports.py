"""A node's port: all of its workers listen on it, and no other node does."""

import errno
import os
import socket
import sys
from pathlib import Path

from serving.errors import UserError

_CLAIM = "nearline/"
_ALL = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


def reserve(host: str, port: int) -> socket.socket:
    """Hold the port without listening, so that `port=0` gives all workers the same one. UserError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise _taken(host, port, error) from error
    return reserved


def claim(reserved: socket.socket) -> socket.socket:
    """Keep other nodes away: SO_REUSEPORT alone would let a second one share the port, and take half of the requests.

    An abstract name of Linux belongs to the network namespace, as ports do, and ends with the process. Workers that
    outlive a killed supervisor for a moment do not hold it, so that the next start need not wait for them. UserError
    when another node has it. Claimed is the address that was bound, however the host was spelled; one of all interfaces
    goes with no other. Of two that look at the same moment both may be refused, but never neither.
    """
    host, port = reserved.getsockname()[:2]
    held = socket.socket(socket.AF_UNIX)
    if sys.platform == "linux":
        try:
            held.bind(f"\0{_CLAIM}{host}:{port}")
            if any(host != other and _ALL & {host, other} for other in _claimants(port)):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        except OSError as error:
            held.close()
            raise _taken(host, port, error) from error
    return held


def _claimants(port: int) -> list[str]:
    """Addresses of which nodes hold the port; none where the system does not show."""
    try:
        sockets = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return []
    names = [line.rpartition(" ")[2] for line in sockets]
    begin, end = f"@{_CLAIM}", f":{port}"
    return [name[len(begin) : -len(end)] for name in names if name.startswith(begin) and name.endswith(end)]


def _taken(host: str, port: int, error: OSError) -> UserError:
    return UserError(f"port: expected a free one, got {host}:{port} ({error.strerror}); choose with --port")
