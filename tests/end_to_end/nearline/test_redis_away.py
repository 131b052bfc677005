"""Redis that is away, slow, or failed over to a copy of a moment ago."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
import redis

from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.conftest import SMALL
from tests.end_to_end.nearline.feeding import Feeding
from tests.end_to_end.nearline.outcome import assert_undisturbed, wait_settled
from tests.end_to_end.nearline.shop import BLIND, MODEL, publish_blind, publish_shop
from tests.end_to_end.nearline.streams import commands, entities, events
from tests.end_to_end.waiting import wait_until
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.fixture
def shop(tmp_path: Path, kafka_servers: str, own_redis: RedisServer) -> Installation:
    """With a Redis of its own."""
    bus, prefix = f"kafka://{kafka_servers}", f"t{uuid4().hex[:10]}."
    return Installation(tmp_path, {**SMALL, "bus": bus, "store": own_redis.url, "topic_prefix": prefix})


@pytest.fixture
def server(own_redis: RedisServer) -> Iterator[redis.Redis]:
    """What the server itself can be asked."""
    with redis.Redis.from_url(own_redis.url) as client:
        yield client


def test_a_redis_that_forgot_its_last_second_is_computed_again(
    shop: Installation, own_redis: RedisServer, server: redis.Redis, rng: Random
) -> None:
    publish_shop(shop)
    settings, among = shop.settings(), entities(150)
    with Node(shop) as node:
        with Feeding(settings, events(rng, 3000, among), commands(rng, 100, among)) as load:
            for share in (rng.uniform(0.1, 0.3), rng.uniform(0.5, 0.7)):
                load.wait_for(share)
                server.save()  # a replica that lags is a copy of a moment ago
                load.wait_for(share + 0.1)
                own_redis.kill()
                own_redis.start()
        wait_settled(settings)
        assert node.events("shard.conflict") or node.events("store.away"), "somebody noticed"
    assert_undisturbed(shop)


def noticed(node: Node) -> int:
    """How often the near-line worker said that the store is away."""
    return sum(line["worker"] == "nearline-0" for line in node.events("store.away"))


def test_while_redis_is_away_answers_fall_back_and_afterwards_nothing_is_lost(
    shop: Installation, own_redis: RedisServer, server: redis.Redis, rng: Random
) -> None:
    publish_shop(shop)
    publish_blind(shop)
    settings, among = shop.settings(), entities(150)

    def source(model: str, entity: str = "e0") -> int:
        return int(recommend(node.address, model, entity).source)

    with Node(shop) as node:
        with Feeding(settings, events(rng, 2500, among), commands(rng, 100, among)) as load:
            load.wait_for(0.2)
            wait_until(lambda: source(MODEL) == NEARLINE, "a prediction is there")
            server.save()
            before = noticed(node)
            own_redis.kill()
            wait_until(lambda: noticed(node) > before, "the worker notices")
            assert source(MODEL) == FALLBACK
            assert source(BLIND) == ONLINE
            own_redis.start()
            wait_until(lambda: source(MODEL) == NEARLINE, "serving recovers by itself")
            load.wait_for(0.5)
            then = noticed(node)
            os.kill(own_redis.pid, signal.SIGSTOP)
            try:
                assert source(MODEL) == FALLBACK
                assert source(BLIND) == ONLINE
                wait_until(lambda: noticed(node) > then, "the worker notices that it is slow")
            finally:
                os.kill(own_redis.pid, signal.SIGCONT)
            wait_until(lambda: source(MODEL) == NEARLINE, "serving recovers by itself")
        wait_settled(settings)
    assert_undisturbed(shop)
