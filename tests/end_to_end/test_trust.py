"""Nodes that trust keys: what nobody trusted has signed is refused, told, and disturbs nothing."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from protos.digest import FileEntry
from protos.ledger import decode_entry
from protos.nearline.v1 import ledger_pb2
from protos.records import BundleSignature
from publisher.announce import Announceable, announce
from publisher.signing import open_ledger
from serving.bus.port import Record
from tests.builders.ledger import announcement
from tests.end_to_end.client import recommend, wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import publish_recommender, write_recommender
from tests.end_to_end.trusting import Guarded, guarded
from tests.end_to_end.waiting import wait_until


@pytest.fixture
def embedded(tmp_path: Path) -> Guarded:
    return guarded(Installation(tmp_path, {"transport": "native"}))


def records(installation: Installation) -> list[Record]:
    """The ledger as it stands."""
    bus = installation.bus()
    topic = installation.settings().topics.models.name
    reader = bus.reader(topic)
    try:
        found: list[Record] = []
        while reader.position(0) < bus.end_offsets(topic)[0]:
            found += [record for batch in reader.poll(1.0) for record in batch.records]
        return found
    finally:
        reader.close()
        bus.close()


def forge(installation: Installation, *entries: tuple[bytes | None, bytes | None]) -> list[int]:
    """Append records as whoever may write the topic can."""
    bus = installation.bus()
    topic = installation.settings().topics.models.name
    try:
        return [bus.append(topic, key, value).offset for key, value in entries]
    finally:
        bus.close()


def refused(installation: Installation, node: Node, *offsets: int) -> list[str]:
    """Wait until every worker has told that it refuses these records; return why."""

    def told() -> list[str] | None:
        faults = [fault for fault in installation.ask("status")["faults"] if fault["offset"] in offsets]
        if len(faults) < node.workers * len(offsets):
            return None
        assert {fault["kind"] for fault in faults} == {"SIGNATURE"}, faults
        return [next(fault["message"] for fault in faults if fault["offset"] == offset) for offset in offsets]

    return wait_until(told, f"every worker refuses {offsets}")


def test_a_forged_version_is_refused_by_every_worker_and_the_true_one_after_it_serves(
    installation: Installation,
) -> None:
    scene = guarded(installation)
    team = scene.by("team")
    with Node(scene.nodes(require_bundle_signature="true")) as node:
        publish_recommender(team, "shop", 1)
        team.wait_for_state("shop", 1, {"READY"}, node.workers)
        offsets = forge(team, announcement("shop", 5))
        assert refused(team, node, *offsets) == ["signature: expected one by a trusted key, got none"]
        assert recommend(node.address, "shop", "ann").version == 1
        wait_until(lambda: node.metric("nearline_ledger_faults_total") == node.workers, "each is counted")
        faults = node.events("ledger.fault")
        assert {(line["level"], line["kind"], line["offset"]) for line in faults} == {("error", "SIGNATURE", *offsets)}

        publish_recommender(team, "shop", 5)
        team.wait_for_state("shop", 5, {"READY"}, node.workers)
        wait_for_version(node.address, "shop", 5)

        told = team.ask("history", "shop")["records"]
        assert [(one["action"], one["signature"], one["signer"], one["outcome"]) for one in told] == [
            ("publish", "valid", "team", "accepted"),
            ("publish", "refused", "", "unusable"),
            ("publish", "valid", "team", "accepted"),
        ]
        assert [worker["accepts_unsigned"] for worker in team.ask("nodes")["workers"]] == [False] * node.workers
        assert node.metric("nearline_accepts_unsigned") == 0


def test_what_was_said_before_a_rollback_cannot_be_said_again(embedded: Guarded) -> None:
    team = embedded.by("team")
    with Node(embedded.nodes()) as node:
        for version in (1, 2):
            publish_recommender(team, "shop", version)
            team.wait_for_state("shop", version, {"READY"}, node.workers)
        team.ask("rollout", "shop", "--version", "2")
        said = records(team)
        team.ask("rollback", "shop")
        wait_for_version(node.address, "shop", 1)

        forge(team, *((record.key, record.value) for record in said))
        assert [one["outcome"] for one in team.ask("history", "shop")["records"][4:]] == [
            "repeated",
            "repeated",
            "lost",
        ]
        publish_recommender(team, "other", 1)  # comes after them, so they were read when it is READY
        team.wait_for_state("other", 1, {"READY"}, node.workers)
        assert recommend(node.address, "shop", "ann").version == 1


def test_an_old_bundle_under_a_new_version_and_a_changed_statement_are_refused(embedded: Guarded) -> None:
    team = embedded.by("team")
    with Node(embedded.nodes()) as node:
        publish_recommender(team, "shop", 1)
        publish_recommender(team, "shop", 2)
        team.wait_for_state("shop", 2, {"READY"}, node.workers)
        wait_for_version(node.address, "shop", 2)
        first = records(team)[0]
        entry, statement = decode_entry(first.key, first.value)
        statement.announcement.version = 3
        entry.statement = statement.SerializeToString()
        offsets = forge(team, (first.key, entry.SerializeToString()))
        assert "got one that does not fit it" in refused(team, node, *offsets)[0]
        assert recommend(node.address, "shop", "ann").version == 2


def test_a_key_for_another_model_is_refused_and_its_owner_told(embedded: Guarded) -> None:
    with Node(embedded.nodes()) as node:
        publish_recommender(embedded.by("team"), "shop", 1)
        embedded.nodes().wait_for_state("shop", 1, {"READY"}, node.workers)
        graph, items = write_recommender(embedded.folder, 2)
        command = ("publish", "shop", str(graph), "--items", str(items))

        told = embedded.by("rival").run(*command)
        assert (told.returncode, "rival may not speak for shop" in told.stderr) == (2, True), told.stderr
        assert len(records(embedded.nodes())) == 1, "nothing was said"

        # Without the nodes' keys it cannot know before, and reads it from what the nodes tell.
        blind = embedded.by("rival", trusting=False).run(*command, "--wait")
        assert blind.returncode == 5, blind.stdout + blind.stderr
        assert "SIGNATURE: signature: rival may not speak for shop" in blind.stdout
        assert recommend(node.address, "shop", "ann").version == 1


def test_an_unknown_publisher_is_told_what_nodes_want(embedded: Guarded) -> None:
    with Node(embedded.nodes()):
        graph, items = write_recommender(embedded.folder, 1)
        command = ("publish", "shop", str(graph), "--items", str(items))
        for name, words in {"eve": "expected one by a key that one trusts", "": "set NEARLINE_SIGNING_KEY"}.items():
            told = embedded.by(name, trusting=False).run(*command)
            assert (told.returncode, words in told.stderr) == (2, True), told.stderr
            assert len(told.stderr.strip().splitlines()) == 1
        assert records(embedded.nodes()) == []


def test_a_bundle_without_a_trusted_signature_is_rejected_untried(embedded: Guarded) -> None:
    team = embedded.by("team")
    with Node(embedded.nodes(require_bundle_signature="true")) as node:
        publish_recommender(team, "shop", 1)
        team.wait_for_state("shop", 1, {"READY"}, node.workers)
        unsigned = publish_recommender(team.having(sign_bundles="false"), "shop", 2)
        rivals = publish_recommender(embedded.by("rival"), "rivals", 3)
        _, said = decode_entry(records(team)[-1].key, records(team)[-1].value)
        theirs = _announce_as(team, "shop", 4, said.announcement)

        for version, words in ((2, "got none"), (4, "rival may not speak for shop")):
            for instance in team.wait_for_state("shop", version, {"REJECTED"}, node.workers).values():
                assert instance["error"]["kind"] == "SIGNATURE"
                assert words in instance["error"]["message"]
        assert theirs == rivals.digest
        verdicts = team.settings().data_dir / "verdicts"
        assert not (verdicts / f"{unsigned.digest}.json").exists(), "it was never tried"
        assert recommend(node.address, "shop", "ann").version == 1


def test_a_manifest_that_was_changed_in_the_store_is_rejected(embedded: Guarded) -> None:
    team = embedded.by("team")
    announced = publish_recommender(team, "shop", 1)
    manifest = Path(urlsplit(announced.uri).path) / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"description": ""', '"description":"" '))
    assert manifest.stat().st_size == len(text)
    with Node(embedded.nodes(require_bundle_signature="true")) as node:
        for instance in team.wait_for_state("shop", 1, {"REJECTED"}, node.workers).values():
            assert instance["error"]["kind"] == "DIGEST"


def test_what_a_removed_key_had_published_is_not_served_after_a_restart(embedded: Guarded) -> None:
    team = embedded.by("team")
    node = Node(embedded.nodes())
    with node:
        publish_recommender(team, "shop", 1)
        publish_recommender(embedded.by("rival"), "rivals", 1)
        team.wait_for_state("rivals", 1, {"READY"}, node.workers)
        assert node.stop() == 0
        embedded.trust(team=["shop", "other"])
        node.start()
        team.wait_for_state("shop", 1, {"READY"}, node.workers)
        wait_for_version(node.address, "shop", 1)
        assert team.ask("status", "rivals")["instances"] == []
        assert node.events("checkpoint.refused")
        refused(team, node, 1)


def test_a_node_that_trusts_no_keys_says_so_loudly(embedded: Guarded) -> None:
    plain = embedded.nodes(trusting=False)
    with Node(plain) as node:
        assert {line["worker"] for line in node.events("ledger.unsigned")} == {"serving-0", "serving-1", "nearline-0"}
        assert {line["level"] for line in node.events("ledger.unsigned")} == {"warning"}
        wait_until(lambda: node.metric("nearline_accepts_unsigned") == node.workers, "each says so")
        assert "one accepts unsigned announcements" in plain.run("nodes").stdout
        publish_recommender(plain, "shop", 1)
        plain.wait_for_state("shop", 1, {"READY"}, node.workers)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"trusted_keys": "/none.yaml"}, "NEARLINE_TRUSTED_KEYS: expected a file or folder of YAML"),
        ({"require_bundle_signature": "true"}, "expected NEARLINE_TRUSTED_KEYS beside it"),
    ],
)
def test_a_node_that_cannot_know_whom_to_trust_does_not_start(
    embedded: Guarded, overrides: dict[str, str], words: str
) -> None:
    done = embedded.installation.having(**overrides).run("serve")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _announce_as(installation: Installation, model: str, version: int, said: ledger_pb2.Announcement) -> str:
    """Announce a bundle of somebody else, with its owner's signature, under a name of ours; return its digest."""
    bus = installation.bus()
    files = [FileEntry(file.path, file.sha256, file.size) for file in said.files]
    signature = BundleSignature(said.bundle_signature.uri, said.bundle_signature.sha256, said.bundle_signature.size)
    try:
        ledger = open_ledger(bus, installation.settings())
        return announce(
            ledger, Announceable(model, said.digest, said.uri, files, version=version, signature=signature)
        ).digest
    finally:
        bus.close()
