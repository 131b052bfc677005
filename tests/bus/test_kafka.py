"""What is special to Kafka: a broker that is away, and comes back."""

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protos.topics import Kept, Topics
from serving.bus.kafka.bus import KafkaBus
from serving.bus.port import Appended, Bus, Record
from serving.errors import BusUnavailableError, InvalidRequestError
from serving.settings import Settings
from tests.bus.harness import KafkaHarness, flat, read_all, topic, until, values
from tests.bus.watched import Store, Watched
from tests.servers.kafka.broker import KafkaBroker
from tests.servers.ports import free_port

# kafka-python leaves sockets whose connection was refused to the garbage collector.
_LEFT_OVER = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
pytestmark = [pytest.mark.kafka, _LEFT_OVER]

_BOUND_S = 40.0
"""A call waits 10 s; so long it may take on a busy machine. One that hangs takes longer than that."""

CALLS: dict[str, Callable[[Bus, str], object]] = {
    "ensure_topics": lambda bus, _: bus.ensure_topics([topic()]),
    "append": lambda bus, name: bus.append(name, b"key", b"value"),
    "append_many": lambda bus, name: bus.append_many(name, [(b"key", b"value")]),
    "reader": lambda bus, name: bus.reader(name),
    "member": lambda bus, name: bus.member("group", name, lambda _: None, lambda _: None),
    "partitions": lambda bus, name: bus.partitions(name),
    "end_offsets": lambda bus, name: bus.end_offsets(name),
    "identity": lambda bus, name: bus.identity(name),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """One of our own, to be stopped and started."""
    with KafkaBroker(path=tmp_path_factory.mktemp("broker")) as started:
        yield started
    gc.collect()  # here, and not in a test that knows nothing of it


@pytest.fixture
def bus(broker: KafkaBroker) -> Iterator[KafkaBus]:
    made = KafkaBus([broker.address])
    yield made
    made.close()


def test_making_a_bus_does_not_connect() -> None:
    KafkaBus(["192.0.2.1:9092"]).close()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_broker_that_never_was_is_said_in_time(call: Callable[[Bus, str], object]) -> None:
    server = f"127.0.0.1:{free_port()}"
    bus = KafkaBus([server])
    began = time.monotonic()
    with pytest.raises(BusUnavailableError, match=f"Kafka at {server}.*check the address and start Kafka"):
        call(bus, "topic")
    assert time.monotonic() - began < _BOUND_S
    bus.close()


def test_something_that_is_no_broker_is_said_in_time_and_leaves_no_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        bus = KafkaBus([server])
        threads = set(threading.enumerate())
        began = time.monotonic()
        with pytest.raises(BusUnavailableError, match=f"Kafka at {server}.*advertised.listeners"):
            bus.partitions("topic")
        assert time.monotonic() - began < _BOUND_S
        until(lambda: not set(threading.enumerate()) - threads, lambda: time.sleep(0.01))


def test_a_name_that_does_not_resolve_is_said() -> None:
    with pytest.raises(BusUnavailableError, match=r"Kafka at no-such-host\.invalid:9092"):
        KafkaBus(["no-such-host.invalid:9092"]).identity("topic")


def test_one_address_of_several_is_enough(broker: KafkaBroker) -> None:
    bus = KafkaBus([f"127.0.0.1:{free_port()}", broker.address])
    spec = topic()
    bus.ensure_topics([spec])
    assert bus.partitions(spec.name) == 1
    bus.close()


def test_topics_get_the_policy_that_they_are_described_with(bus: KafkaBus, broker: KafkaBroker) -> None:
    from kafka import KafkaAdminClient  # noqa: PLC0415 - it warns when imported, see conftest.py
    from kafka.admin import ConfigResource, ConfigResourceType  # noqa: PLC0415 - as above

    topics = Topics(prefix=f"{topic().name}.", event_partitions=3, event_retention_s=60)
    bus.ensure_topics(topics.all())
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    found = {}
    for spec in topics.all():
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name)])
        configs = described["topic"][spec.name] if isinstance(described, dict) else described
        found[spec.kept, spec.name] = {name: str(entry["value"]) for name, entry in configs.items()}
    admin.close()
    for (kept, _), configs in found.items():
        assert configs["message.timestamp.type"] == "LogAppendTime"
        assert int(configs["max.message.bytes"]) > 1 << 20
        assert configs["cleanup.policy"] == ("compact" if kept is Kept.COMPACTED else "delete")
    assert found[Kept.FOR_EVER, topics.models.name]["retention.ms"] == "-1"
    assert found[Kept.FOR_EVER, topics.models.name]["retention.bytes"] == "-1"
    assert found[Kept.BY_TIME, topics.events.name]["retention.ms"] == "60000"
    assert [bus.partitions(spec.name) for spec in topics.all()] == [1, 1, 3, 3, 1]


def test_a_record_that_is_too_large_is_the_callers_fault(bus: KafkaBus) -> None:
    spec = topic()
    bus.ensure_topics([spec])
    with pytest.raises(InvalidRequestError):
        bus.append(spec.name, b"key", bytes(8 << 20))
    with pytest.raises(InvalidRequestError):
        bus.append(spec.name, None, None)
    bus.append(spec.name, b"key", b"a good one")
    assert values(read_all(bus, spec.name)) == [b"a good one"]


def test_a_bus_appends_to_a_topic_that_was_created_again(bus: KafkaBus, broker: KafkaBroker, tmp_path: Path) -> None:
    spec = topic()
    bus.ensure_topics([spec])
    before = bus.identity(spec.name)
    bus.append_many(spec.name, [(b"key", b"%d" % number) for number in range(10)])
    KafkaHarness(broker.address, Settings(data_dir=tmp_path)).delete(spec.name)
    bus.ensure_topics([spec])
    assert bus.identity(spec.name) != before

    _appended(bus, spec.name, b"new")
    assert set(values(read_all(bus, spec.name))) == {b"new"}


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_everything_goes_on_when_the_broker_is_back(
    bus: KafkaBus, broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch, *, crash: bool
) -> None:
    monkeypatch.setattr("serving.bus.kafka.clients.SESSION_S", 600)  # it would read on from what it committed
    spec = topic(partitions=2)
    bus.ensure_topics([spec])
    identity = bus.identity(spec.name)
    appended = [bus.append(spec.name, b"before", b"%d" % number, partition=number % 2) for number in range(10)]
    reader, asked = bus.reader(spec.name), list[int]()
    member = bus.member(f"group-{spec.name}", spec.name, asked.append, lambda _: None)
    read: list[tuple[int, Record]] = []
    consumed: list[tuple[int, Record]] = []

    def both() -> None:
        for polled, found in ((reader, read), (member, consumed)):
            try:
                found.extend(flat(polled.poll(0.05)))
            except BusUnavailableError:
                continue

    until(lambda: len(read) == len(consumed) == 10, both)
    member.commit({0: 5, 1: 5})

    (broker.kill if crash else broker.stop)()
    for call in (call for name, call in CALLS.items() if name not in {"reader", "member"}):
        _fails_in_time(lambda call=call: call(bus, spec.name), broker)  # type: ignore[misc]  # a default is fine here
    _fails_in_time(lambda: until(lambda: flat(reader.poll(0.2))), broker)
    _fails_in_time(lambda: until(lambda: flat(member.poll(0.2))), broker)

    broker.start()
    appended.append(_appended(bus, spec.name, b"after"))
    appended += bus.append_many(spec.name, [(b"after", b"%d" % number) for number in range(11, 20)])
    # What was given up meanwhile may have been appended nevertheless; it has another key.
    everything = {(entry.partition, entry.offset) for entry in appended}
    for found in (read, consumed):
        until(lambda found=found: everything <= {(p, r.offset) for p, r in found}, both)  # type: ignore[misc]  # as above
        _nothing_came_twice(found)
    assert bus.identity(spec.name) == identity
    assert set(bus.end_offsets(spec.name)) == {0, 1}
    reader.close()
    member.close()


def test_closing_with_the_broker_away_ends_in_time(broker: KafkaBroker) -> None:
    bus = KafkaBus([broker.address])
    spec = topic()
    bus.ensure_topics([spec])
    bus.append(spec.name, b"key", b"value")
    reader = bus.reader(spec.name)
    revoked: list[int] = []
    asked: list[int] = []
    member = bus.member(f"group-{spec.name}", spec.name, asked.append, revoked.append)
    until(lambda: asked, lambda: member.poll(0.1))
    broker.stop()
    try:
        began = time.monotonic()
        member.close()
        reader.close()
        bus.close()
        assert time.monotonic() - began < _BOUND_S
        assert revoked == [0]
    finally:
        broker.start()


def test_a_member_that_does_not_poll_for_too_long_is_told_before_it_reads_on(
    bus: KafkaBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = topic(partitions=4), Store()
    bus.ensure_topics([spec])
    for partition in range(4):
        for number in range(10):
            bus.append(spec.name, b"key", b"%d" % number, partition=partition)
    with monkeypatch.context() as patch:
        patch.setattr("serving.bus.kafka.clients._MAX_POLL_INTERVAL_S", 1)
        slow = Watched(bus, f"group-{spec.name}", spec.name, store=store)
    until(lambda: slow.found, lambda: slow.poll(max_records=1))  # it has fetched more than it was asked for
    quick = Watched(bus, f"group-{spec.name}", spec.name, store=store)
    until(lambda: len(store.found) == 4 and all(len(found) == 10 for found in store.found.values()), quick.poll)
    assert quick.owned == {0, 1, 2, 3}
    assert len(slow.owned) == 4, "it knows nothing yet"
    read = len(slow.found)

    def both() -> None:
        slow.poll()
        quick.poll()

    until(lambda: len(slow.asked) > 4 and len(slow.owned) == len(quick.owned) == 2, both)
    assert len(slow.found) == read, "what it had fetched is another's"
    assert store.found == {p: [b"%d" % number for number in range(10)] for p in range(4)}
    for watched in (slow, quick):
        watched.member.close()


def test_what_was_appended_outlives_a_kill_of_the_broker(broker: KafkaBroker) -> None:
    bus = KafkaBus([broker.address])
    spec = topic()
    bus.ensure_topics([spec])
    bus.append(spec.name, b"key", b"durable")
    bus.close()
    port = broker.port
    broker.kill()
    broker.start()
    assert broker.port == port
    again = KafkaBus([broker.address])
    assert values(read_all(again, spec.name)) == [b"durable"]
    again.close()


def _fails_in_time(call: Callable[[], object], broker: KafkaBroker) -> None:
    began = time.monotonic()
    with pytest.raises(BusUnavailableError, match=broker.address):
        call()
    assert time.monotonic() - began < _BOUND_S


def _appended(bus: Bus, name: str, value: bytes) -> Appended:
    """Try until it works, as all callers do."""
    done: list[Appended] = []

    def append() -> None:
        with contextlib.suppress(BusUnavailableError):
            done.append(bus.append(name, value, value))

    until(lambda: done, append)
    return done[0]


def _nothing_came_twice(found: list[tuple[int, Record]]) -> None:
    for wanted in {partition for partition, _ in found}:
        offsets = [record.offset for partition, record in found if partition == wanted]
        assert offsets == sorted(set(offsets))
