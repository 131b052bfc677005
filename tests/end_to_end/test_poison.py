"""Records that nobody should have written: each ends in the right place, and nothing else is disturbed."""

from concurrent.futures import ThreadPoolExecutor

import msgpack

from protos.dead_letter import DeadLetter
from protos.digest import FileEntry, bundle_digest
from protos.ledger import encode_statement
from protos.nearline.v1 import ledger_pb2
from serving.recipes.event import encode_event
from tests.end_to_end.client import NEARLINE, recommend, wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender, write_recommender
from tests.end_to_end.waiting import wait_until


def test_a_poison_announcement_is_told_in_status_and_the_next_good_one_is_served(
    installation: Installation, node: Node
) -> None:
    first = publish_recommender(installation, "shop", 1)
    bus = installation.bus()
    topic = installation.settings().topics.models.name
    statement = ledger_pb2.Statement(model="shop", announcement=ledger_pb2.Announcement(version=7, digest="ab"))
    newer = ledger_pb2.LedgerEntry(schema=99, statement=statement.SerializeToString())
    offsets = [
        bus.append(topic, b"shop", b"\xff\xfe no protobuf").offset,
        bus.append(topic, b"shop", newer.SerializeToString()).offset,
        bus.append(topic, b"shop", encode_statement(statement)).offset,
        bus.append(topic, b"shop", encode_statement(_other_bundle("shop", first.version))).offset,
    ]
    publish_recommender(installation, "shop", 2)
    installation.wait_for_state("shop", 2, {"READY"}, node.workers)
    bus.close()

    def told() -> dict[int, tuple[str, str]] | None:
        faults = installation.ask("status")["faults"]
        return {f["offset"]: (f["kind"], f["message"]) for f in faults} if len(faults) == 4 * node.workers else None

    faults = wait_until(told, "every worker tells of every poison record")
    assert [faults[offset][0] for offset in offsets] == ["UNDECODABLE", "UNDECODABLE", "UNDECODABLE", "CONFLICT"]
    assert faults[offsets[1]][1] == "schema: expected 1, got 99"
    wait_for_version(node.address, "shop", 2)


def test_two_publishers_at_once_get_versions_of_their_own(installation: Installation, node: Node) -> None:
    paths = [write_recommender(installation.folder, number) for number in range(1, 5)]
    with ThreadPoolExecutor(len(paths)) as pool:
        said = list(
            pool.map(lambda path: installation.ask("publish", "shop", str(path[0]), "--items", str(path[1])), paths)
        )

    assert sorted(announced["version"] for announced in said) == [1, 2, 3, 4]
    installation.wait_for_state("shop", 4, {"READY"}, node.workers)
    newest = next(announced["digest"] for announced in said if announced["version"] == 4)
    assert {i["digest"] for i in installation.instances("shop", 4).values()} == {newest}


def test_a_number_that_is_taken_by_another_bundle_is_refused_in_one_line(installation: Installation) -> None:
    publish_recommender(installation, "shop", 1)
    graph, items = write_recommender(installation.folder, 2)

    done = installation.run("publish", "shop", str(graph), "--items", str(items), "--version", "1")

    assert done.returncode == 2
    assert "version 1 of shop exists" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_poison_event_becomes_a_dead_letter_and_its_shard_goes_on(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    bus = installation.bus()
    topics = installation.settings().topics
    poison = [
        (b"ann", b"\xc1 neither JSON nor msgpack"),
        (b"ann", msgpack.packb(["no", "map"])),
        (b"ann", msgpack.packb({"entity": "ann", "fields": {"item": ["a", "list"]}})),
        (b"ann", msgpack.packb({"entity": "bob"})),
        (b"", msgpack.packb({"fields": {}})),
    ]
    places = bus.append_many(topics.events.name, poison)
    wrong_key, wrong_value = encode_event("ann", {"item": "v1-1"})
    wrong_shard = (places[0].partition + 1) % topics.event_partitions
    places.append(bus.append(topics.events.name, wrong_key, wrong_value, partition=wrong_shard))
    bus.append(topics.events.name, *encode_event("ann", {"item": "v1-3"}))

    wait_until(lambda: recommend(node.address, "shop", "ann").source == NEARLINE, "the good event's prediction")
    letters = bus.reader(topics.dead_letters.name)
    found: dict[tuple[int, int], DeadLetter] = {}

    def collected() -> bool:
        for batch in letters.poll(0.1):
            for record in batch.records:
                letter = DeadLetter.decode(record.value or b"")
                found[letter.partition, letter.offset] = letter
        return len(found) == len(places)

    wait_until(collected, "a dead letter for each poison event")
    letters.close()
    bus.close()
    assert set(found) == {(place.partition, place.offset) for place in places}
    assert {letter.topic for letter in found.values()} == {topics.events.name}
    assert all(letter.reason for letter in found.values())
    assert found[places[0].partition, places[0].offset].value == poison[0][1]
    assert "partition" in found[wrong_shard, places[-1].offset].reason


def _other_bundle(model: str, version: int) -> ledger_pb2.Statement:
    """The same version, as if another publisher had not read back."""
    entry = FileEntry("model.onnx", "0" * 64, 1)
    listed = [ledger_pb2.BundleFile(path=entry.path, sha256=entry.sha256, size=entry.size)]
    said = ledger_pb2.Announcement(version=version, digest=bundle_digest([entry]), uri="file:///nowhere", files=listed)
    return ledger_pb2.Statement(model=model, announcement=said)
