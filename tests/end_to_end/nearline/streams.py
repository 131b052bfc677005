"""Seeded streams of events, as awkward as real ones, and commands among them."""

import time
from random import Random

import msgpack

from protos.commands import Erase, Recompute
from serving.recipes.event import encode_event
from tests.end_to_end.nearline.shop import ITEMS, MODEL

Record = tuple[bytes, bytes]

_BEFORE_MS = 10 * 60_000
"""The stream begins so long before now, and not more, so that events that get the append time make no others late."""
_KINDS = ("view", "view", "view", "purchase", "rating")
_DUPLICATES, _OUT_OF_ORDER, _LATE, _FUTURE, _TIMELESS, _POISON = 0.05, 0.15, 0.03, 0.01, 0.05, 0.02
_LATE_MS = 3 * 3600_000


def entities(count: int) -> list[str]:
    """Ids, the most active first."""
    return [f"e{number}" for number in range(count)]


def events(rng: Random, count: int, among: list[str]) -> list[Record]:
    """Zipf-distributed entities of several types of events; some twice, out of order, too late, ahead, or no event."""
    began = time.time_ns() // 1_000_000 - _BEFORE_MS
    weights = [1 / (rank + 1) ** 0.99 for rank in range(len(among))]
    made: list[Record] = []
    for number, entity in enumerate(rng.choices(among, weights, k=count)):
        if made and rng.random() < _DUPLICATES:
            made.append(rng.choice(made[-50:]))
            continue
        if rng.random() < _POISON:
            made.append(poison(rng, entity))
            continue
        item = f"item-{rng.randrange(ITEMS + 3)}"  # a few are in no catalogue
        given = rng.random() < 0.8  # else a hash of the content has to do
        made.append(
            encode_event(
                entity,
                {"item": item, "stars": rng.randrange(1, 6)},
                kind=rng.choice(_KINDS),
                ts_ms=_time(rng, began + number * 20),
                event_id=f"id-{rng.getrandbits(60)}" if given else None,
            )
        )
    return made


def poison(rng: Random, entity: str) -> Record:
    """Return what is no event."""
    key = entity.encode()
    return rng.choice(
        [
            (key, b"\xc1 neither JSON nor msgpack %d" % rng.getrandbits(40)),
            (key, msgpack.packb(["no", "map", rng.getrandbits(40)])),
            (key, msgpack.packb({"fields": {"item": ["a", "list", rng.getrandbits(40)]}})),
            (key, msgpack.packb({"entity": f"not {entity}", "n": rng.getrandbits(40)})),
            (b"x" * 300, msgpack.packb({"n": rng.getrandbits(40)})),
        ]
    )


def commands(rng: Random, count: int, among: list[str]) -> list[Record]:
    """Recomputations of entities that are known or not, by versions that exist or not, and what is no command."""
    made = []
    for entity in rng.choices(among, k=count):
        key, value = Recompute(entity.encode(), MODEL, rng.choice([1, 1, 1, 7])).encode()
        made.append((key, value if rng.random() < 0.9 else b"\xc1 no command"))
    return made


def erasure(entity: str) -> Record:
    """Ask for an entity to be forgotten."""
    return Erase(entity.encode()).encode()


def _time(rng: Random, now_ms: int) -> int | None:
    luck = rng.random()
    for share, time_ms in (
        (_OUT_OF_ORDER, now_ms - rng.randrange(30 * 60_000)),
        (_LATE, now_ms - _LATE_MS),
        (_FUTURE, now_ms + _LATE_MS),
        (_TIMELESS, None),
    ):
        if luck < share:
            return time_ms
        luck -= share
    return now_ms
