"""A publisher signs what it says, believes whom it trusts, and learns when nobody believes it."""

import sys
from pathlib import Path

import pytest

from protos.ledger import decode_entry
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.topics import presence_key
from publisher import blocking, rollouts
from publisher.announce import Announceable, announce
from publisher.api import publish
from publisher.bulk import show
from publisher.ledger import Ledger
from publisher.signing import bundle_keys, open_ledger, sign_bundle, store_signature
from serving.artifacts.store import FsspecArtifacts
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.port import Appended
from serving.errors import UserError
from serving.settings import Settings
from serving.trust.keys import create_keys, read_signing_keys
from tests.builders.buses import TOPICS, everything
from tests.builders.graphs import doubler
from tests.builders.ledger import announcement, bulk_load, files, rollout
from tests.builders.trust import ANN, EVE, rule, signed, trust_file

LEDGER = TOPICS.models.name


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a publisher with a key of its own, `ci`, who trusts itself and Ann."""
    create_keys(tmp_path / "keys", "ci")
    ours = read_signing_keys(tmp_path / "keys" / "ci.key")
    trusted = trust_file(tmp_path, rule("ci", ours, "m", "shop-*"), rule("ann", ANN))
    return Settings(
        data_dir=tmp_path, topic_prefix=TOPICS.prefix, signing_key=tmp_path / "keys" / "ci.key", trusted_keys=trusted
    )


def having(settings: Settings, **other: object) -> Settings:
    return settings.model_copy(update=other)


def said(ledger: Ledger, model: str = "m", content: str = "a", version: int | None = None) -> int:
    return announce(
        ledger, Announceable(model, digest_of(content), "file:///x", files(content), version=version)
    ).version


def digest_of(content: str) -> str:
    _, statement = decode_entry(*announcement("m", 1, content=content))
    return statement.announcement.digest


def test_everything_that_is_said_is_signed_for_this_topic(tmp_path: Path, bus: EmbeddedBus, settings: Settings) -> None:
    ledger = open_ledger(bus, settings)
    said(ledger)
    said(ledger, content="b")
    rollouts.pin(ledger, "m", 1, {})
    rollouts.unpin(ledger, "m", None)
    rollouts.retry(ledger, "m", 1)
    blocking.block(ledger, "m", ["x"])
    blocking.lift(ledger, "m", ["x"])
    show(ledger, "m", 0)
    rollouts.retire(ledger, "m", 1)
    judge = open_ledger(bus, settings).read().judge
    records = everything(tmp_path, LEDGER)
    kinds = set()
    for record in records:
        entry, statement = decode_entry(record.key, record.value)
        assert [signature.audience for signature in entry.signatures] == [bus.identity(LEDGER)]
        judge(record.offset, entry, statement)
        kinds.add(statement.WhichOneof("kind"))
    assert kinds == {"announcement", "rollout", "retrial", "blocking", "bulk_shown", "retirement"}


def test_a_publisher_believes_only_whom_it_trusts(bus: EmbeddedBus, settings: Settings) -> None:
    topic = bus.identity(LEDGER)
    bus.append_many(LEDGER, [announcement("m", 5), signed(announcement("m", 6), EVE, audience=topic)])
    assert open_ledger(bus, settings).read().models == {}
    assert said(open_ledger(bus, settings), version=5) == 5, "a forged one does not occupy its number"


def test_who_would_not_be_accepted_learns_it_and_says_nothing(bus: EmbeddedBus, settings: Settings) -> None:
    unsigned = open_ledger(bus, having(settings, signing_key=None))
    with pytest.raises(UserError, match="nobody would accept it: signature: expected one by a trusted key, got none"):
        said(unsigned)
    with pytest.raises(UserError, match="ci may not speak for other: expected a model of m, shop-"):
        said(open_ledger(bus, settings), "other")
    assert bus.end_offsets(LEDGER)[0] == 0


class Distrusting(EmbeddedBus):
    """What is appended to it comes back with the signature damaged."""

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        entry = ledger_pb2.LedgerEntry.FromString(value or b"")
        entry.signatures[0].signature = bytes(64)
        return super().append(topic, key, entry.SerializeToString(), partition)


def test_whose_record_comes_back_refused_learns_it(tmp_path: Path, settings: Settings) -> None:
    bus = Distrusting(tmp_path / "bus")
    with pytest.raises(UserError, match=r"^signature: expected one by ci over this statement"):
        said(open_ledger(bus, settings))
    bus.close()


def test_a_key_file_is_read_only_by_who_says_something(bus: EmbeddedBus, settings: Settings) -> None:
    ledger = open_ledger(bus, having(settings, signing_key=Path("/none.key")))
    assert ledger.read().models == {}
    with pytest.raises(UserError, match=r"signing key: /none\.key: No such file"):
        said(ledger)


class Node:
    """A live worker of a node, which tells whom it trusts."""

    def __init__(self, bus: EmbeddedBus, name: str, *trusted: str) -> None:
        presence = status_pb2.Presence(node=name, worker="w", incarnation=name, trusted_keys=trusted)
        record = status_pb2.StatusRecord(presence=presence).SerializeToString()
        bus.append(TOPICS.status.name, presence_key(name, "w"), record)


def test_a_publisher_that_trusts_nobody_itself_asks_what_live_nodes_do(bus: EmbeddedBus, settings: Settings) -> None:
    settings = having(settings, trusted_keys=None)
    assert said(open_ledger(bus, settings)) == 1, "nobody is there to ask"
    Node(bus, "one", ANN.public.id)
    Node(bus, "two")
    with pytest.raises(UserError, match="signature: expected one by a key that one trusts, got key "):
        said(open_ledger(bus, settings))
    with pytest.raises(UserError, match="since one accepts no other, got none; set NEARLINE_SIGNING_KEY"):
        said(open_ledger(bus, having(settings, signing_key=None)))
    assert settings.signing_key
    Node(bus, "one", ANN.public.id, read_signing_keys(settings.signing_key).public.id)
    assert said(open_ledger(bus, settings)) == 2
    assert bus.end_offsets(LEDGER)[0] == 2


def test_a_bundle_is_signed_beside_itself(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    artifacts = FsspecArtifacts((tmp_path / "artifacts").as_uri())
    digest = "ab" * 32
    keys = bundle_keys(settings)
    assert keys
    signature = store_signature(artifacts, digest, sign_bundle(keys, folder))
    assert f"/{digest}.signatures/" in signature.uri
    artifacts.fetch(signature.uri, "bundle.sig", tmp_path / "copy", signature.size)
    again = store_signature(artifacts, digest, sign_bundle(keys, folder))
    assert again.uri != signature.uri, "each signature differs, and none replaces another"
    assert bundle_keys(having(settings, sign_bundles=False)) is None
    assert bundle_keys(having(settings, signing_key=None)) is None


@pytest.mark.parametrize("dry_run", [True, False])
def test_who_cannot_sign_learns_it_before_the_model_is_read(settings: Settings, dry_run: bool) -> None:
    steps: list[str] = []
    with pytest.raises(UserError, match=r"signing key: /none\.key: No such file"):
        publish(
            "m",
            doubler(),
            dry_run=dry_run,
            settings=having(settings, signing_key=Path("/none.key")),
            step=steps.append,
        )
    assert steps == []


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("sign_bundles", [True, False])
def test_without_the_extra_bundles_are_not_signed_and_publishing_says_so(
    settings: Settings, dry_run: bool, sign_bundles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)  # as if it were not installed
    ours = having(settings, sign_bundles=sign_bundles)
    if sign_bundles:
        with pytest.raises(UserError, match=r"nearline\[signing\].*NEARLINE_SIGN_BUNDLES=false"):
            publish("m", doubler(), dry_run=dry_run, settings=ours)
        assert not (settings.data_dir / "artifacts").exists()
    else:
        assert publish("m", doubler(), dry_run=dry_run, settings=ours).version == 1


def test_a_dry_run_is_refused_where_nobody_would_accept_the_announcement(settings: Settings, bus: EmbeddedBus) -> None:
    with pytest.raises(UserError, match="ci may not speak for other: expected a model of m, shop-"):
        publish("other", doubler(), dry_run=True, settings=settings, bus=bus)
    assert publish("m", doubler(), dry_run=True, settings=settings, bus=bus).version == 1
    assert bus.end_offsets(LEDGER)[0] == 0
    assert not (settings.data_dir / "artifacts").exists()


def test_what_old_publishers_said_unsigned_is_read_where_nobody_is_trusted(bus: EmbeddedBus) -> None:
    bus.append_many(LEDGER, [announcement("m", 1), rollout("m", 1, {1: 1_000_000}), bulk_load("m", 1)])
    assert set(open_ledger(bus, Settings(topic_prefix=TOPICS.prefix)).read().models) == {"m"}
