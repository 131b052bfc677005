"""Which connections are accepted: as many as there is room for, by the newest credentials that can be used."""

import os
import resource

import structlog

from serving.errors import NearlineError
from serving.rpc.native.credentials import Credentials
from serving.rpc.native.house import House
from serving.rpc.native.listener import Listener

log = structlog.get_logger()


class Accepting:
    """A server's, until it is to be closed."""

    def __init__(self, house: House, listener: Listener, credentials: Credentials) -> None:
        self._house = house
        self._listener = listener
        self._credentials = credentials
        self._room, self._limit = house.limits.connections, "connections"
        self._paused = False
        self._closed = False

    async def start(self) -> int:
        """Bind and accept; return the port. UserError for credentials that cannot be used, NearlineError."""
        self._credentials.read()
        port = self._listener.bind()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY:
            left = max(1, most - self._house.limits.spare_descriptors - _open_descriptors())
            if left < self._room:
                self._room, self._limit = left, "spare_descriptors"
        await self._listener.listen(self._credentials.context)
        return port

    def close(self) -> None:
        """Accept nothing from now on."""
        self._closed = True
        self._listener.close()

    def made(self, connections: int) -> None:
        """Know that there is one more; accept no more until one ends if there are as many as there may be."""
        self._house.metrics.connections.set(connections)
        if connections >= self._room and not self._paused and not self._closed:
            self._paused = True
            self._listener.pause()
            self._house.strike(self._limit)
            self._house.metrics.accept_pauses.inc()
            log.warning("rpc.accept_paused", connections=connections)

    def lost(self, connections: int) -> None:
        """Know that one ended; `look` sees to the rest."""
        self._house.metrics.connections.set(connections)

    def look_at_credentials(self) -> None:
        """Read new ones; wrong ones are reported, and the old ones stay."""
        try:
            self._credentials.look()
        except NearlineError as error:
            self._house.strike("credentials")
            log.error("rpc.credentials_refused", error=str(error), action="the former ones stay")

    async def look(self, connections: int) -> bool:
        """Accept again when there is room, and by new credentials when there are; OSError.

        True: other callers are let in now than those by whose rules connections were made.
        """
        room = not self._paused or connections < self._room
        if room and (self._paused or self._credentials.renewed):
            await self._listener.listen(self._credentials.context)
            self._paused = False
            self.made(connections)
        if not self._credentials.renewed:
            return False
        log.info("rpc.credentials_reloaded")
        return self._credentials.taken_over()


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only how many
    except OSError:
        return 0
