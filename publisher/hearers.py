"""Whether the live nodes would accept what a publisher says: they tell which keys they trust."""

import time

from protos.topics import Topics
from serving.bus.port import Bus
from serving.bus.read_status import read_status
from serving.errors import UserError
from serving.trust.keys import short


def check_heard(bus: Bus, topics: Topics, key_id: str) -> None:
    """Raise UserError when a live node trusts keys, and not this one (empty = none)."""
    view = read_status(bus, topics.status.name)
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
