"""The next event, predicted near-line: events stream in one by one, and each is compared with what was ready for it.

All sampled entities go forward together, one event each: ask for what is ready, compare, append the event, and wait
until its prediction has replaced the old one and nothing is due. So every prediction was made by the near-line worker
from exactly the events before it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from protos.nearline.v1 import recommender_pb2
from serving.demo.asking import Answer, Client
from serving.demo.cases import Case
from serving.demo.evaluate import NextEventRecall
from serving.demo.purchases import Purchases
from serving.demo.recipe import VIEWING
from serving.demo.replay import Player
from serving.errors import NearlineError

_STUCK_S = 30.0
_LOOK_S = 0.001


@dataclass(slots=True)
class Streamed:
    """What came out: recalls over the same cases, how many answers were made near-line, and how fresh they were.

    `skewed`: near-line answers that are not what numpy computes from the events before.

    `looking`: of those cases that were asked once more with the product that the entity looks at, which has to be
    answered online (`online`: so many were); `not_looking`, `looking_popular`: of the same cases, without it.
    """

    model: NextEventRecall = field(default_factory=NextEventRecall)
    popular: NextEventRecall = field(default_factory=NextEventRecall)
    looking: NextEventRecall = field(default_factory=NextEventRecall)
    not_looking: NextEventRecall = field(default_factory=NextEventRecall)
    looking_popular: NextEventRecall = field(default_factory=NextEventRecall)
    nearline: int = 0
    skewed: int = 0
    online: int = 0
    fresh_ms: list[float] = field(default_factory=list)


def stream_events(
    client: Client,
    player: Player,
    purchases: Purchases,
    cases: Sequence[Case],
    expected: Mapping[int, Sequence[str]],
    looked_at: Mapping[int, str],
    popular: Sequence[str],
    settle: Callable[[], None],
    advance: Callable[[int], None],
) -> Streamed:
    """Play every held-out purchase of the cases' entities, and count what was predicted for each case.

    By row, `expected`: what must have been predicted; `looked_at`: the product that the entity looks at, for the cases
    that are asked once more with it. `settle`: waits until all that was played is computed.
    """
    result = Streamed()
    by_row = {case.row: case for case in cases}
    streams = _streams(purchases, {case.entity_id for case in cases})
    ready = dict(zip(streams, client.many(streams), strict=True))
    for step in range(max(map(len, streams.values()), default=0)):
        wave = {entity: rows[step] for entity, rows in streams.items() if step < len(rows)}
        for entity, row in wave.items():
            case = by_row.get(row)
            if case is not None:
                (item,) = case.items
                result.model.add(list(ready[entity].item_ids), item)
                result.popular.add(popular, item)
                result.skewed += list(ready[entity].item_ids) != expected[row]
                result.nearline += ready[entity].source == recommender_pb2.FROM_NEARLINE
                if row in looked_at:
                    answer = client.one(entity, {VIEWING: looked_at[row]})
                    result.looking.add(list(answer.item_ids), item)
                    result.not_looking.add(list(ready[entity].item_ids), item)
                    result.looking_popular.add(popular, item)
                    result.online += answer.source == recommender_pb2.FROM_ONLINE
        began = time.monotonic()
        player.play(wave.values())
        _wait_until_fresh(client, {entity: ready[entity] for entity in wave})
        result.fresh_ms.append((time.monotonic() - began) * 1000)
        # A later time alone proves nothing: a miss may have had the old state computed once more.
        settle()
        ready |= zip(wave, client.many(wave), strict=True)
        advance(len(wave))
    return result


def _streams(purchases: Purchases, entities: set[str]) -> dict[str, list[int]]:
    """Held-out rows of each entity, in order."""
    streams: dict[str, list[int]] = {entity: [] for entity in sorted(entities)}
    for row in np.arange(purchases.first_held_out, len(purchases)).tolist():
        entity = purchases.entity_ids[purchases.entities[row]]
        if entity in streams:
            streams[entity].append(row)
    return streams


def _wait_until_fresh(client: Client, old: dict[str, Answer]) -> None:
    """Ask until every answer was made near-line and later than the old one."""
    waiting = list(old)
    deadline = time.monotonic() + _STUCK_S
    while True:
        waiting = [
            entity
            for entity, answer in zip(waiting, client.many(waiting), strict=True)
            if answer.source != recommender_pb2.FROM_NEARLINE or answer.computed_at_ms == old[entity].computed_at_ms
        ]
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise NearlineError(f"near-line: no new prediction for {waiting[0]!r} within {_STUCK_S:g} s of its event")
        time.sleep(_LOOK_S)
