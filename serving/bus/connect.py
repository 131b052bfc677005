"""Chooses the bus's adapter by its URL, and imports it on choice."""

from pathlib import Path

from serving.bus.port import Bus
from serving.errors import InvalidRequestError

_EXPECTED = "`embedded`, or kafka://host:port[,host:port]"


def connect_bus(url: str, data_dir: Path) -> Bus:
    """Return a bus that connects on first use; InvalidRequestError for a URL that is none."""
    if url == "embedded":
        from serving.bus.embedded.bus import EmbeddedBus  # noqa: PLC0415 - on choice

        return EmbeddedBus(data_dir / "bus")
    scheme, found, rest = url.partition("://")
    servers = rest.rstrip("/").split(",")
    if scheme == "kafka" and found and all(_is_address(server) for server in servers):
        from serving.bus.kafka.bus import KafkaBus  # noqa: PLC0415 - on choice

        return KafkaBus(servers)
    raise InvalidRequestError("bus", _EXPECTED, repr(url))


def _is_address(server: str) -> bool:
    host, found, port = server.rpartition(":")
    return bool(host and found and port.isdigit())
