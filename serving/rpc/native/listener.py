"""The port: bound once, shared with other processes, and listened on only while there is room for connections."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from serving.errors import NearlineError

_BACKLOG = 1024


class Listener:
    """`address` is host:port. Pausing leaves new connections in the kernel's queue; they are not refused."""

    def __init__(self, address: str, make: Callable[[], asyncio.BaseProtocol], handshake_s: float) -> None:
        self._address = address
        self._make = make
        self._handshake_s = handshake_s
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []

    def bind(self) -> int:
        """Take the port; return its number. NearlineError."""
        host, _, port = self._address.rpartition(":")
        try:
            found = socket.getaddrinfo(
                host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                bound = socket.socket(family, kind, protocol)
                self._sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind(address)
                bound.listen(_BACKLOG)
        except (OSError, ValueError, OverflowError) as error:
            self.close()
            raise NearlineError(f"address: expected one that is free, got {self._address}") from error
        port_number: int = self._sockets[0].getsockname()[1]
        return port_number

    async def listen(self, context: ssl.SSLContext | None) -> None:
        """Accept, with this certificate from now on; OSError, and then what was accepted before still is."""
        loop = asyncio.get_running_loop()
        timeout = self._handshake_s if context is not None else None
        others: list[asyncio.Server] = []
        try:
            for bound in self._sockets:
                copy = bound.dup()
                try:
                    server = await loop.create_server(
                        self._make, sock=copy, backlog=_BACKLOG, ssl=context, ssl_handshake_timeout=timeout
                    )
                except BaseException:
                    copy.close()
                    raise
                others.append(server)
            if self._sockets:  # not closed meanwhile
                self._servers, others = others, self._servers
        finally:
            for server in others:
                server.close()

    def pause(self) -> None:
        """Accept nothing."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def close(self) -> None:
        """Give the port up."""
        self.pause()
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()
