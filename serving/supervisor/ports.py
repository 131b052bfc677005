"""A node's port: all of its workers listen on it, and no other node does."""

import socket
import sys

from serving.errors import UserError


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


def claim(host: str, port: int) -> socket.socket:
    """Keep other nodes away: SO_REUSEPORT alone would let a second one share the port, and take half of the requests.

    An abstract name of Linux belongs to the network namespace, as ports do, and ends with the process. Workers that
    outlive a killed supervisor for a moment do not hold it, so that the next start need not wait for them. UserError
    when another node has it.
    """
    held = socket.socket(socket.AF_UNIX)
    if sys.platform == "linux":
        try:
            held.bind(f"\0nearline/{host}:{port}")
        except OSError as error:
            held.close()
            raise _taken(host, port, error) from error
    return held


def _taken(host: str, port: int, error: OSError) -> UserError:
    return UserError(f"port: expected a free one, got {host}:{port} ({error.strerror}); choose with --port")
