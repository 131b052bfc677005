"""The end of a connection, announced in two steps so that no request on its way is lost (RFC 9113 §6.8)."""

import time
from collections.abc import Callable
from typing import Any

from serving.errors import UnavailableError
from serving.rpc.native.exchange import Exchange
from serving.rpc.native.house import House

_PING = b"goingway"
_ROUND_TRIP_S = 1.0
"""Longer than any: then the PING's answer need not be waited for."""


class Farewell:
    """One connection's: GOAWAY and a PING, another GOAWAY when the PING is answered, and the end when nothing runs."""

    __slots__ = ("_exchange", "_flush", "_grace_s", "_house", "_refused", "_since", "_transport", "_words", "begun")

    def __init__(self, house: House, exchange: Exchange, transport: Any, flush: Callable[[], None]) -> None:
        self.begun = False
        self._house = house
        self._exchange = exchange
        self._transport = transport
        self._flush = flush
        self._since = 0.0
        self._grace_s, self._words = 0.0, ""
        self._refused = False

    def begin(self, grace_s: float, words: str) -> None:
        """Announce the end. `words`: for what runs longer than the grace."""
        connection = self._exchange.connection
        if not self.begun and not connection.closed:
            self.begun, self._since, self._grace_s, self._words = True, time.monotonic(), grace_s, words
            connection.warn()
            connection.ping(_PING)
            self._exchange.pinged = _PING
            self._flush()

    def go_on(self) -> None:
        """Take the next step if it is time; to be called after each read and write."""
        connection = self._exchange.connection
        if self._exchange.ponged and not self._refused:
            self._refused = True
            connection.refuse()
            self._flush()
        if self._refused and not connection.busy:
            self._transport.close()

    def look(self, now: float) -> None:
        """Wait no longer than a round trip, and the grace."""
        seconds = now - self._since
        if seconds > self._grace_s:
            if self._exchange.calls:
                self._house.strike("age_grace_s")
            self.end(self._words)
        elif seconds > _ROUND_TRIP_S:
            self._exchange.ponged = True
            self.go_on()

    def end(self, words: str) -> None:
        """End now: what runs gets a status, and the rest is written if the peer takes it."""
        self._exchange.fail_all(UnavailableError(words))
        self._flush()
        self._transport.close()
