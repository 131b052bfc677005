"""Hides items of a model wherever its answers come from, or lets them be seen again."""

import time
from collections.abc import Iterator, Sequence

from protos.ledger import MAX_STATEMENT_BYTES, World
from protos.nearline.v1 import ledger_pb2
from protos.records import ModelRecord
from publisher.ledger import Ledger, known_model
from serving.bundles.catalogue import MAX_ITEM_BYTES
from serving.errors import InvalidRequestError

_PART_BYTES = MAX_STATEMENT_BYTES // 2
"""Of one record; brokers take a megabyte by default."""
_BESIDE = 32
"""Bytes of an entry beside its item, at most."""
_SWEPT = 1_000
"""Entries whose time is over that one command takes out of the list."""


def block(ledger: Ledger, model: str, items: Sequence[str], *, until_ms: int = 0, reason: str = "") -> ModelRecord:
    """Hide items until then (milliseconds since the epoch; 0 = for ever). What was over before goes from the list.

    Many are said in several records: when somebody stops it in the middle, the first ones are hidden.
    """
    if 0 < until_ms <= _now_ms():
        raise InvalidRequestError("until", "a time to come", f"{(_now_ms() - until_ms) / 1000:.0f} s ago")
    entries = [ledger_pb2.BlockedItem(item=item, until_ms=until_ms) for item in _checked(items)]
    return _say(ledger, model, entries, reason)


def lift(ledger: Ledger, model: str, items: Sequence[str], *, reason: str = "") -> ModelRecord:
    """Let items be seen again; InvalidRequestError for one that is not on the list."""
    record = known_model(ledger.read(), model)
    for item in _checked(items):
        if item not in record.blocked:
            raise InvalidRequestError("items", f"one that is blocked for {model}", repr(item))
    return _say(ledger, model, [ledger_pb2.BlockedItem(item=item, lifted=True) for item in items], reason)


def blocked(ledger: Ledger, model: str) -> dict[str, int]:
    """Return the items that are hidden now, and until when."""
    now_ms = _now_ms()
    record = known_model(ledger.read(), model)
    return {item: until_ms for item, until_ms in record.blocked.items() if not until_ms or until_ms > now_ms}


def _checked(items: Sequence[str]) -> Sequence[str]:
    if not items:
        raise InvalidRequestError("items", "at least one", "none")
    for item in items:
        size = len(item.encode(errors="replace"))
        if not 0 < size <= MAX_ITEM_BYTES or not item.isprintable():
            raise InvalidRequestError("items", f"1 to {MAX_ITEM_BYTES} bytes of printable UTF-8", repr(item)[:80])
    return items


def _say(ledger: Ledger, model: str, entries: list[ledger_pb2.BlockedItem], reason: str) -> ModelRecord:
    said = {entry.item for entry in entries}
    record = ModelRecord()
    for part in _parts(entries):

        def make(world: World, part: list[ledger_pb2.BlockedItem] = part) -> ledger_pb2.Statement:
            now_ms = _now_ms()
            record = known_model(world, model)
            over = [
                ledger_pb2.BlockedItem(item=item, lifted=True)
                for item, until_ms in record.blocked.items()
                if 0 < until_ms <= now_ms and item not in said
            ]
            blocking = ledger_pb2.Blocking(items=[*over[:_SWEPT], *part], reason=reason, epoch=record.blocked_epoch + 1)
            return ledger_pb2.Statement(model=model, blocking=blocking)

        record = ledger.say(make).world.models[model]
    return record


def _parts(entries: list[ledger_pb2.BlockedItem]) -> Iterator[list[ledger_pb2.BlockedItem]]:
    part: list[ledger_pb2.BlockedItem] = []
    size = 0
    for entry in entries:
        size += len(entry.item.encode()) + _BESIDE
        if part and size > _PART_BYTES:
            yield part
            part, size = [], len(entry.item.encode()) + _BESIDE
        part.append(entry)
    yield part


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
