"""Whether the live nodes would accept what a publisher says: they tell which keys they trust."""

import time

from protos.status_view import StatusView
from protos.topics import Topics
from serving.bus.port import Bus
from serving.errors import UserError
from serving.trust.keys import short


def check_heard(bus: Bus, topics: Topics, key_id: str) -> None:
    """Raise UserError when a live node trusts keys, and not this one (empty = none)."""
    view = _view(bus, topics.status.name)
    live = view.live(max(view.newest_ms, time.time_ns() // 1_000_000))
    deaf = sorted({p.node for p in live if p.trusted_keys and key_id not in p.trusted_keys})
    if not deaf:
        return
    nodes = ", ".join(deaf)
    if key_id:
        raise UserError(
            f"signature: expected one by a key that {nodes} trusts, got key {short(key_id)}; "
            "its public key has to be in the NEARLINE_TRUSTED_KEYS of every node"
        )
    raise UserError(f"signature: expected one, since {nodes} accepts no other, got none; set NEARLINE_SIGNING_KEY")


def _view(bus: Bus, topic: str) -> StatusView:
    view = StatusView()
    end = bus.end_offsets(topic)[0]
    reader = bus.reader(topic)
    try:
        while reader.position(0) < end:
            for batch in reader.poll(1.0):
                for record in batch.records:
                    view.apply(record.key, record.timestamp_ms, record.value)
    finally:
        reader.close()
    return view
