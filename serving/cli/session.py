"""An open bus for the time of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.settings import Settings


@contextmanager
def open_bus(settings: Settings) -> Iterator[Bus]:
    """Connect, make sure that the topics are there, and close at the end."""
    bus = connect_bus(settings)
    try:
        bus.ensure_topics(settings.topics.without_ledger())
        yield bus
    finally:
        bus.close()
