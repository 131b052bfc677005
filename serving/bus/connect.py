"""Chooses the bus's adapter by its URL, and imports it on choice."""

from serving.bus.port import Bus
from serving.errors import InvalidRequestError
from serving.settings import Settings

_EXPECTED = "`embedded`, or kafka://host:port[,host:port]"


def connect_bus(settings: Settings) -> Bus:
    """Return a bus that connects on first use; InvalidRequestError for settings that make none."""
    if settings.bus == "embedded":
        from serving.bus.embedded.bus import EmbeddedBus  # noqa: PLC0415 - on choice

        return EmbeddedBus(settings.data_dir / "bus")
    scheme, found, rest = settings.bus.partition("://")
    servers = rest.rstrip("/").split(",")
    if scheme == "kafka" and found and all(_is_address(server) for server in servers):
        from serving.bus.kafka.bus import KafkaBus  # noqa: PLC0415 - on choice
        from serving.bus.kafka.security import Security  # noqa: PLC0415 - on choice

        return KafkaBus(servers, Security(settings))
    raise InvalidRequestError("bus", _EXPECTED, repr(settings.bus))


def _is_address(server: str) -> bool:
    host, found, port = server.rpartition(":")
    return bool(host and found and port.isdigit())
