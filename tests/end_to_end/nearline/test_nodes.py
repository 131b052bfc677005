"""Several nodes, and a broker that is killed: every store ends up as if nothing had happened."""

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.conftest import SMALL
from tests.end_to_end.nearline.feeding import Feeding
from tests.end_to_end.nearline.outcome import assert_undisturbed, wait_settled
from tests.end_to_end.nearline.shop import publish_shop
from tests.end_to_end.nearline.streams import commands, entities, events
from tests.end_to_end.waiting import wait_until
from tests.servers.kafka.broker import KafkaBroker
from tests.supervisor.watching import children

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


def shards_of(node: Node) -> set[int]:
    """What its near-line worker has just now."""
    found: set[int] = set()
    for line in node.lines():
        if line["event"] == "shard.assigned":
            found.add(line["shard"])
        if line["event"] == "shard.revoked":
            found.discard(line["shard"])
        if line["event"] == "worker.died" and line["name"].startswith("nearline-"):
            found.clear()
    return found


@pytest.mark.redis
def test_shards_move_in_mid_load_when_a_node_joins_stops_short_and_leaves(
    tmp_path: Path, kafka_servers: str, redis_url: str, rng: Random
) -> None:
    names = {"bus": f"kafka://{kafka_servers}", "store": redis_url, "topic_prefix": f"t{rng.getrandbits(40):x}."}
    shop = Installation(tmp_path, {**SMALL, **names})
    publish_shop(shop)
    settings, among = shop.settings(), entities(150)
    with ExitStack() as stack:
        one, two = Node(shop, "one"), Node(shop, "two")
        stack.enter_context(one)
        with Feeding(settings, events(rng, 4000, among), commands(rng, 150, among)) as load:
            load.wait_for(rng.uniform(0.1, 0.2))
            stack.enter_context(two)
            wait_until(lambda: len(shards_of(one)) == len(shards_of(two)) == 2, "each node has half of the shards")
            load.wait_for(rng.uniform(0.3, 0.4))
            sleeper = children(two.pid)["nearline-0"]
            os.kill(sleeper, signal.SIGSTOP)
            try:
                load.wait_for(0.5)
                wait_until(lambda: len(shards_of(one)) == 4, "the other node takes them over")
            finally:
                with suppress(ProcessLookupError):  # if it took long, its node has put another in its place
                    os.kill(sleeper, signal.SIGCONT)
            wait_until(lambda: len(shards_of(one)) == len(shards_of(two)) == 2, "it has come back")
            load.wait_for(rng.uniform(0.6, 0.7))
            assert one.stop() == 0
        wait_settled(settings)
        wait_until(lambda: len(shards_of(two)) == 4, "the one that is left has all")
    assert_undisturbed(shop)


# kafka-python leaves sockets behind while it looks for a broker that is away.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_nodes_with_stores_of_their_own_each_consume_everything_although_the_broker_is_killed(
    tmp_path: Path, rng: Random
) -> None:
    with KafkaBroker() as broker:
        shop = Installation(tmp_path, {**SMALL, "bus": f"kafka://{broker.address}"})
        publish_shop(shop)
        among = entities(150)
        with Node(shop, "one"), Node(shop, "two"):
            with Feeding(shop.settings("one"), events(rng, 3000, among), commands(rng, 100, among)) as load:
                load.wait_for(rng.uniform(0.1, 0.6))
                broker.kill()
                broker.start()
            for name in ("one", "two"):
                wait_settled(shop.settings(name))
        assert_undisturbed(shop, "one", "two")
