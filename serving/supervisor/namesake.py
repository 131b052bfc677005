"""Two nodes of one name would break each other without a word, so the second one does not start.

They would share the group of their near-line workers, and the keys of what they report.
"""

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS, StatusView
from protos.topics import Topics, clock_key
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.bus.read_status import read_status
from serving.errors import ConflictError
from serving.settings import Settings


def look_for_namesake(settings: Settings, installation: str) -> None:
    """`refuse_namesake`, on a connection of its own."""
    bus = connect_bus(settings)
    try:
        bus.ensure_topics(settings.topics.without_ledger())
        refuse_namesake(bus, settings.topics, settings.node, installation)
    finally:
        bus.close()


def refuse_namesake(bus: Bus, topics: Topics, node: str, installation: str) -> None:
    """ConflictError when a live worker of that node's name belongs to another installation."""
    view = read_status(bus, topics.status.name)
    if not _others(view.presences(), node, installation):
        return
    # Only an append tells the bus's clock, which says who is live.
    now_ms = bus.append(topics.status.name, clock_key(node), None).timestamp_ms
    found = namesake(view, node, installation, now_ms)
    if found is not None:
        place = f"{found.address}, pid {found.pid}" if found.address else f"pid {found.pid}"
        raise ConflictError(
            f"node: expected a name that no other node has, got {node!r}, which another installation runs as: "
            f"{found.worker} ({place}), seen {max(0, now_ms - view.seen_ms(found)) / 1000:.0f} s ago; choose another "
            f"name with --node, or try again in {LIVE_MS // 1000} s if that one is gone"
        )


def namesake(view: StatusView, node: str, installation: str, now_ms: int) -> status_pb2.Presence | None:
    """Return a live worker of that node's name and another installation, one with an address if there is one."""
    found = _others(view.live(now_ms), node, installation)
    return max(found, key=lambda presence: (bool(presence.address), presence.worker), default=None)


def _others(presences: list[status_pb2.Presence], node: str, installation: str) -> list[status_pb2.Presence]:
    """A worker of a release that did not tell its installation counts as our own."""
    return [p for p in presences if p.node == node and p.installation not in {"", installation}]
