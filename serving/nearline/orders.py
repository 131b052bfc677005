"""What serving workers and people ask of a shard's owner, in the order of the `commands` topic: recompute, erase."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.commands import Erase, InvalidCommandError, Recompute, decode_command
from protos.dead_letter import DeadLetter
from serving.bus.port import Batch
from serving.models.places import ACTIVE, BULK, DUE, ERASED, PREDICTIONS, STATES
from serving.nearline.intake import dead_letter
from serving.nearline.live import Live
from serving.nearline.shard import Shard
from serving.nearline.urgency import EXPIRED, MISSED, score
from serving.store.port import Change, Rank


@dataclass(slots=True)
class Orders:
    """What a batch of commands is to write, whom it erased, and what was no command."""

    changes: list[Change | Rank] = field(default_factory=list)
    erased: list[bytes] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    recomputed: int = 0


def take_orders(shard: Shard, batch: Batch, live: Live) -> Orders:
    """Turn commands into changes of their shard. Nobody computes here: what is asked for is marked as due."""
    orders = Orders()
    wanted: list[tuple[Recompute, int]] = []
    for record in batch.records:
        try:
            command = decode_command(record.key, record.value)
        except InvalidCommandError as error:
            orders.dead.append(dead_letter(batch, record, str(error)))
            continue
        if isinstance(command, Erase):
            orders.erased.append(command.entity)
            orders.changes += _erasure(shard, command.entity, record.timestamp_ms)
        else:
            wanted.append((command, record.timestamp_ms))
    erased = set(orders.erased)
    _recompute(shard, [(c, at) for c, at in wanted if c.entity not in erased], live, orders)
    return orders


def _recompute(shard: Shard, wanted: Sequence[tuple[Recompute, int]], live: Live, orders: Orders) -> None:
    versions = {(version.loaded.model, version.loaded.version): version for version in live.versions}
    there = shard.store.read(shard.number, STATES, [command.entity for command, _ in wanted])
    for (command, at), document in zip(wanted, there, strict=True):
        version = versions.get((command.model, command.version))
        if version is not None and document is not None and version.wants(command.entity):
            band = EXPIRED if command.expired else MISSED
            orders.changes.append(Rank(version.due, command.entity, score(band, at)))
            orders.recomputed += 1
            shard.due.add(version.key)


def _erasure(shard: Shard, entity: bytes, at_ms: int) -> list[Change | Rank]:
    """Everything that is stored of an entity goes; when, stays for as long as events from before can be replayed."""
    shard.note_erased(entity)
    names = shard.store.spaces(shard.number)
    rankings = shard.store.rankings(shard.number)
    return [
        Change(STATES, entity, None),
        *(Change(name, entity, None) for name in names if name[:1] in {PREDICTIONS, BULK}),
        *(Rank(name, entity, None) for name in rankings if name[:1] == DUE or name == ACTIVE),
        Change(ERASED, entity, at_ms.to_bytes(8)),
        Rank(ERASED, entity, at_ms),
    ]
