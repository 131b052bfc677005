"""Events from a topic that a company has already, said in its own way; old ones, late ones, and who was erased."""

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from protos.partition import partition_of
from protos.topics import Kept, TopicSpec
from serving.bus.port import Appended, Bus
from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender
from tests.end_to_end.nearline.outcome import wait_settled
from tests.end_to_end.waiting import wait_until

PARTITIONS = 3
HOUR_S = 3600
MAPPING = {
    "entity": "user.id",
    "keyed": False,
    "type": None,
    "constant_type": "click",
    "time": "at",
    "time_unit": "s",
    "id": "n",
    "fields": {"item": "payload.sku"},
}


class Clicks:
    """The company's topic."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self._bus = bus
        self._topic = topic
        self._count = 0
        bus.ensure_topics([TopicSpec(topic, PARTITIONS, Kept.BY_TIME, 7 * 24 * HOUR_S)])

    def append(self, user: int, item: str, *, ago_s: float = 0.0) -> Appended:
        self._count += 1
        said = {"user": {"id": user}, "at": time.time() - ago_s, "n": self._count, "payload": {"sku": item}}
        return self._bus.append(self._topic, str(user).encode(), json.dumps(said).encode())


@pytest.fixture
def mapped(installation: Installation) -> Installation:
    return installation.having(
        events_topic=f"clicks-{uuid.uuid4().hex[:10]}",
        event_mapping=json.dumps(MAPPING),
        late_dead_letters="true",
        oldest_event_s=str(24 * HOUR_S),
        workers="1",
    )


@pytest.fixture
def clicks(mapped: Installation) -> Iterator[Clicks]:
    bus = mapped.bus_without_topics()
    yield Clicks(bus, mapped.overrides["events_topic"])
    bus.close()


def test_events_of_a_topic_that_exists_are_read_as_they_are_and_old_ones_only_change_states(
    mapped: Installation, clicks: Clicks
) -> None:
    publish_recommender(mapped, "shop", 1)
    with Node(mapped) as node:
        clicks.append(7, "v1-3")
        wait_until(lambda: _source(node, 7) == NEARLINE, "a prediction")
        wait_settled(mapped.settings(event_partitions=PARTITIONS))  # a backfill would take in whoever comes meanwhile
        clicks.append(8, "v1-3", ago_s=48 * HOUR_S)
        # Whoever is asked for is computed ahead from then on, so that 8 must not be before its event is in the store.
        wait_until(lambda: node.metric("nearline_events_total") == 2, "both events are in the store")
        assert _source(node, 8) == ONLINE, "its state is there, and nothing was computed ahead for it"


def test_a_late_event_becomes_a_dead_letter_and_a_retry_brings_nobody_back_who_was_erased(
    mapped: Installation, clicks: Clicks
) -> None:
    publish_recommender(mapped, "shop", 1)
    with Node(mapped) as node:
        for user in (7, 8):
            clicks.append(user, "v1-3")
            late = clicks.append(user, "v1-4", ago_s=2 * HOUR_S)
            assert late.partition == partition_of(str(user).encode(), PARTITIONS)
        letters = wait_until(lambda: _letters(mapped, 2), "both late events on dead letters")
        assert all("within the allowed lateness" in letter["reason"] for letter in letters)
        wait_until(lambda: node.metric("nearline_events_late_total") == 2, "both are counted")
        mapped.ask("erase", "7", "--yes")
        wait_until(lambda: _source(node, 7) == FALLBACK, "7 is forgotten")

        said = mapped.ask("dead-letters", "--retry", "--yes")
        assert said["appended"] == 1
        assert {letter["key"]: letter["obstacle"] for letter in said["letters"]} == {"7": "erased", "8": ""}
        wait_until(lambda: _letters(mapped, 3), "the late event of 8 is late once more")
        applied = node.metric("nearline_events_total")
        clicks.append(_beside(7), "v1-3")
        wait_until(lambda: node.metric("nearline_events_total") == applied + 1, "what came later in the shard of 7")
        assert _source(node, 7) == FALLBACK


def _shard(user: int) -> int:
    return partition_of(str(user).encode(), PARTITIONS)


def _beside(user: int) -> int:
    """Somebody else in the same shard."""
    return next(other for other in range(9, 99) if _shard(other) == _shard(user))


def _source(node: Node, user: int) -> int:
    return recommend(node.address, "shop", str(user)).source


def _letters(mapped: Installation, count: int) -> list[dict[str, str]] | None:
    found: list[dict[str, str]] = mapped.ask("dead-letters")["letters"]
    return found if len(found) == count else None
