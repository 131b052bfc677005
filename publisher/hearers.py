"""Whether the live nodes would accept what a publisher says: they tell which keys they trust."""

from protos.nearline.v1 import status_pb2
from protos.topics import Topics
from serving.bus.port import Bus
from serving.bus.read_status import read_fleet, read_status
from serving.errors import UserError
from serving.trust.keys import short


def check_heard(bus: Bus, topics: Topics, key_id: str) -> None:
    """Raise UserError when a live node trusts keys, and not this one (empty = none)."""

    def is_deaf(worker: status_pb2.Presence) -> bool:
        return bool(worker.trusted_keys) and key_id not in worker.trusted_keys

    topic = topics.status.name
    if not any(map(is_deaf, read_status(bus, topic).presences())):
        return  # whoever is live
    deaf = sorted({worker.node for worker in read_fleet(bus, topic).live if is_deaf(worker)})
    if not deaf:
        return
    nodes = ", ".join(deaf)
    if key_id:
        raise UserError(
            f"signature: expected one by a key that {nodes} trusts, got key {short(key_id)}; "
            "its public key has to be in the NEARLINE_TRUSTED_KEYS of every node"
        )
    raise UserError(f"signature: expected one, since {nodes} accepts no other, got none; set NEARLINE_SIGNING_KEY")
