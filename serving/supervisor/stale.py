"""Takes back what workers of this node said before they died: they cannot do it themselves."""

import time

from protos.nearline.v1 import status_pb2
from protos.status_view import has_been_ready
from protos.topics import Topics, instance_key, presence_key
from serving.bus.port import Bus
from serving.bus.read_status import read_status

_UNFINISHED = {
    status_pb2.ANNOUNCED,
    status_pb2.FETCHING,
    status_pb2.VERIFYING,
    status_pb2.LOADING,
    status_pb2.WARMING,
}


def clear_stale(bus: Bus, topics: Topics, node: str, workers: set[str] | None, deadline: float) -> int:
    """Tombstone presence and unfinished states of this node's workers (None = all); return how many.

    Nothing is written after `deadline` (monotonic clock): by then the worker may be back, and speak for itself.
    What an instance came to stays to be seen: a rollback asks which versions have been ready, and whoever looks for
    what is now asks by incarnation.
    """
    topic = topics.status.name
    view = read_status(bus, topic)
    mine = [p for p in view.presences() if p.node == node and (workers is None or p.worker in workers)]
    stale = [presence_key(p.node, p.worker) for p in mine]
    stale += [
        instance_key(i.node, i.worker, i.model, i.version)
        for i in view.statuses()
        if i.node == node
        and (workers is None or i.worker in workers)
        and i.state in _UNFINISHED
        and not has_been_ready(i)
    ]
    if stale and time.monotonic() < deadline:
        bus.append_many(topic, [(key, None) for key in stale])
    return len(stale)
