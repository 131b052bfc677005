"""A near-line worker that ends at each step of the write path, or sleeps there until another has its shards."""

import os
import signal
from random import Random

import pytest

from tests.end_to_end.installation import Installation
from tests.end_to_end.nearline.deadly import STEPS
from tests.end_to_end.nearline.fated import Fated
from tests.end_to_end.nearline.outcome import assert_undisturbed, looking, wait_settled, working
from tests.end_to_end.nearline.shop import publish_shop
from tests.end_to_end.nearline.streams import commands, entities, events
from tests.end_to_end.waiting import wait_until


def test_a_worker_killed_at_each_step_leaves_a_batch_whole_or_not_at_all(shop: Installation, rng: Random) -> None:
    publish_shop(shop)
    settings, among = shop.settings(), entities(60)
    topics = settings.topics
    with looking(settings) as look, Fated(shop.folder) as fated:
        for number, step in enumerate(STEPS):
            look.append(topics.events.name, events(rng, 200, among))
            look.append(topics.commands.name, commands(rng, 20, among))
            occurrence = 1 if step == "ordered" else rng.randint(1, 3)
            fated.dies_at(settings, step, occurrence, group=f".{number}")
            assert look.unsettled(), "it did not get to the end"
    with working(settings):
        wait_settled(settings)
    assert_undisturbed(shop)


@pytest.mark.parametrize("step", ["writing", "written"])
def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(
    shop: Installation, rng: Random, step: str
) -> None:
    publish_shop(shop)
    settings, among = shop.settings(), entities(60)
    topics = settings.topics
    with looking(settings) as look, Fated(shop.folder) as fated:
        look.append(topics.events.name, events(rng, 400, among))
        sleeper = fated.stops_at(settings, step, rng.randint(1, 4))
        with working(settings):
            look.append(topics.commands.name, commands(rng, 20, among))
            look.append(topics.events.name, events(rng, 300, among))
            wait_settled(settings)
            os.kill(sleeper, signal.SIGCONT)
            wait_until(lambda: fated.said("shard.conflict") or fated.said("shard.revoked"), "the sleeper notices")
            look.append(topics.events.name, events(rng, 300, among))
            wait_settled(settings)
            if step == "writing":
                assert fated.said("shard.conflict"), "its write was refused"
    assert_undisturbed(shop)
