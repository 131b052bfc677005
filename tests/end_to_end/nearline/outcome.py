"""What a whole store says in the end, and what it says when nothing disturbs: the two have to be equal.

Left out of the comparison is what tells when, not what: the instants at which predictions were computed and filling
began, and of how many entities it then knew. Everything else has to be equal, the cursors as well.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from protos.nearline.v1 import recommender_pb2, status_pb2
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import BusUnavailableError, StoreUnavailableError
from serving.models.answers import message_of
from serving.models.places import DUE, FILLS, PREDICTIONS
from serving.nearline.fill_record import FillRecord
from serving.node.identity import new_identity
from serving.node.nearline import NearlineProcess, build_nearline
from serving.settings import Settings
from serving.store.connect import connect_writer
from serving.store.port import Cursor, StoreWriter
from tests.end_to_end.installation import Installation
from tests.end_to_end.nearline.streams import Record
from tests.end_to_end.waiting import wait_until
from tests.store.contents import contents

UNDISTURBED = "undisturbed"
_SETTLED_S = 120.0


class Place(NamedTuple):
    """Where a value is."""

    shard: int
    space: bytes
    key: bytes


Outcome = Mapping[Place, Any]
"""Every cursor, value and score of a store."""


def store_of(settings: Settings) -> StoreWriter:
    """The store as its near-line workers see it; the test only reads."""
    return connect_writer(settings.store, settings.data_dir, settings.topic_prefix)


def outcome(settings: Settings) -> Outcome:
    """Read a store whole; nobody may write it meanwhile."""
    writer = store_of(settings)
    try:
        found: dict[Place, Any] = {}
        for shard, held in contents(writer, range(settings.event_partitions)).items():
            found[Place(shard, b"", b"cursor")] = held.cursor
            for space, entries in held.spaces.items():
                found |= {Place(shard, space, key): _timeless(space, value) for key, value in entries.items()}
            for ranking, members in held.rankings.items():
                found |= {Place(shard, b"ranking " + ranking, member): score for member, score in members}
        return found
    finally:
        writer.close()


def assert_undisturbed(installation: Installation, *nodes: str) -> Outcome:
    """Demand that the stores of these nodes, which have ended, are as if nothing had happened; return what they say."""
    expected = undisturbed(installation)
    for node in nodes or ("one",):
        assert_equal(outcome(installation.settings(node)), expected)
    return expected


def assert_equal(found: Outcome, expected: Outcome) -> None:
    """Show the first differences, and how many there are."""
    assert expected, "the undisturbed run wrote nothing"
    places = [place for place in found.keys() | expected.keys() if found.get(place) != expected.get(place)]
    shown = [f"{place}: expected {expected.get(place)!r}, got {found.get(place)!r}" for place in sorted(places)[:5]]
    assert not places, f"{len(places)} of {len(expected)} differ:\n" + "\n".join(shown)


def undisturbed(installation: Installation) -> Outcome:
    """Let one near-line worker take the whole log into an empty store, and return what that says."""
    folder = installation.folder / UNDISTURBED
    settings = installation.settings(UNDISTURBED, store="lmdb", store_bytes=1 << 30, data_dir=folder)
    if settings.bus == "embedded":  # its log is a file of the node, which has ended: this one gets a copy
        (folder / "bus").mkdir(parents=True)
        shutil.copy(installation.settings().data_dir / "bus" / "data.mdb", folder / "bus" / "data.mdb")
    with working(settings):
        wait_settled(settings)
    return outcome(settings)


@contextmanager
def working(settings: Settings, *, connect: Callable[[], Bus] | None = None) -> Iterator[NearlineProcess]:
    """A near-line worker in this process, which nobody disturbs. `connect`: to another bus than the settings name."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)  # as a supervisor does
    process = build_nearline(settings, new_identity(settings, "nearline-0", status_pb2.NEARLINE))
    if connect is not None:
        process.worker._connect = connect
    process.models.start()
    try:
        wait_until(lambda: process.models.deployer.wait_settled(0.1), "the models are loaded")
        process.worker.start()
        yield process
    finally:
        process.worker.stop()
        process.models.stop()


def wait_settled(settings: Settings, timeout_s: float = _SETTLED_S) -> None:
    """Wait until everything is consumed, and nothing is due or being filled."""
    with looking(settings) as look:
        wait_until(lambda: not look.unsettled(), "everything is consumed and computed", timeout_s)


class Look:
    """At a store and its logs, from outside."""

    def __init__(self, bus: Bus, store: StoreWriter, settings: Settings) -> None:
        topics = settings.topics
        self.topics = (topics.events.name, topics.commands.name)
        self._bus, self._store = bus, store
        self._identities = [bus.identity(topic) for topic in self.topics]
        self._shards = range(settings.event_partitions)

    def append(self, topic: str, records: Sequence[Record]) -> None:
        """Append, and again where the broker was away: what was appended twice is consumed once."""
        while records:
            try:
                self._bus.append_many(topic, records)
                return
            except BusUnavailableError:
                self._bus.close()  # it connects anew: a producer does not always outlive a broker that was killed

    def consumed(self) -> int:
        """How many events and commands the store has; while it is away nobody knows, and nothing is."""
        try:
            return sum(sum(self._offsets(self._store.cursor(shard))) for shard in self._shards)
        except StoreUnavailableError:
            return 0

    def unsettled(self) -> list[str]:
        """What is still to be done."""
        ends = [self._bus.end_offsets(topic) for topic in self.topics]
        try:
            return [line for shard in self._shards for line in self._left(shard, [end[shard] for end in ends])]
        except StoreUnavailableError as error:
            return [str(error)]

    def _left(self, shard: int, ends: list[int]) -> list[str]:
        offsets = self._offsets(self._store.cursor(shard))
        left = [f"shard {shard}: at {offsets} of {ends}"] if offsets != ends else []
        fills = [FillRecord.decode(value) for _, value in self._store.scan(shard, FILLS)]
        left += [f"shard {shard}: {record}" for record in fills if not record.known or record.left]
        left += [] if fills else [f"shard {shard}: nothing is filled"]
        return left + [f"shard {shard}: due" for name in self._store.rankings(shard) if name[:1] == DUE]

    def _offsets(self, cursor: Cursor | None) -> list[int]:
        return [(cursor.offset(identity) if cursor else None) or 0 for identity in self._identities]


@contextmanager
def looking(settings: Settings) -> Iterator[Look]:
    """With connections of its own, so that any thread may look."""
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    store = store_of(settings)
    try:
        yield Look(bus, store, settings)
    finally:
        store.close()
        bus.close()


def _timeless(space: bytes, value: bytes) -> Any:
    """Leave out of a value when it was computed."""
    if space[:1] == PREDICTIONS:
        said = recommender_pb2.RecommendResponse.FromString(message_of(value))
        assert said.computed_at_ms > 0
        said.computed_at_ms = 0
        return said.SerializeToString(deterministic=True)
    if space == FILLS:
        return replace(FillRecord.decode(value), total=0, began_ms=0, scheduled_ms=0)
    return value
