"""Near-line workers that are killed in mid-load: the store ends up as if they had not been."""

import os
import signal
from random import Random

from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.feeding import Feeding
from tests.end_to_end.nearline.outcome import assert_undisturbed, wait_settled
from tests.end_to_end.nearline.shop import publish_shop
from tests.end_to_end.nearline.streams import commands, entities, events
from tests.end_to_end.waiting import wait_until
from tests.supervisor.watching import children

WORKERS = ["nearline-0", "nearline-1"]
_KILLS = 2


def owners(node: Node) -> set[str]:
    """Workers that were given a shard since they were started last."""
    found: set[str] = set()
    for line in node.lines():
        if line["event"] == "worker.died":
            found.discard(line["name"])
        if line["event"] == "shard.assigned":
            found.add(line["worker"])
    return found


def kill(node: Node, names: list[str]) -> None:
    """End these workers at once, and wait until their node has noticed."""
    before = len(node.events("worker.died"))
    for name in names:
        os.kill(children(node.pid)[name], signal.SIGKILL)
    wait_until(lambda: len(node.events("worker.died")) == before + len(names), "the node notices")


def test_workers_killed_at_random_moments_lose_nothing_and_do_nothing_twice(shop: Installation, rng: Random) -> None:
    shop = shop.having(nearline_workers="2")
    publish_shop(shop)
    among = entities(150)
    with Node(shop) as node:
        load = Feeding(shop.settings(), events(rng, 3000, among), commands(rng, 100, among))
        with load:
            for share in sorted(rng.uniform(0.05, 0.8) for _ in range(_KILLS)):
                wait_until(lambda: owners(node) == set(WORKERS), "both workers have shards")
                load.wait_for(share)
                kill(node, rng.sample(WORKERS, rng.choice([1, 1, 2])))
        wait_settled(shop.settings())
    assert_undisturbed(shop)
