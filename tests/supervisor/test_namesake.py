"""Who has a node's name already."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS, StatusView
from protos.topics import presence_key
from serving.bus.embedded.bus import EmbeddedBus
from serving.errors import ConflictError
from serving.installation import installation_id
from serving.supervisor.namesake import namesake, refuse_namesake
from tests.builders.buses import TOPICS


def presence(node: str, worker: str, installation: str, address: str = "") -> status_pb2.Presence:
    return status_pb2.Presence(
        node=node, worker=worker, incarnation=worker, installation=installation, address=address, pid=7
    )


def view(*presences: status_pb2.Presence) -> StatusView:
    folded = StatusView()
    for said in presences:
        record = status_pb2.StatusRecord(presence=said).SerializeToString()
        folded.apply(presence_key(said.node, said.worker), 1_000, record)
    return folded


@pytest.mark.parametrize(
    ("node", "installation", "now_ms", "found"),
    [
        ("a", "theirs", 1_000 + LIVE_MS, True),
        ("a", "theirs", 1_001 + LIVE_MS, False),
        ("a", "ours", 1_000, False),
        ("a", "", 1_000, False),
        ("b", "theirs", 1_000, False),
    ],
)
def test_a_namesake_is_live_and_of_another_installation(
    node: str, installation: str, now_ms: int, *, found: bool
) -> None:
    folded = view(presence(node, "w0", installation))
    assert (namesake(folded, "a", "ours", now_ms) is not None) == found


def test_the_worker_that_has_an_address_is_named() -> None:
    folded = view(presence("a", "serving-0", "theirs", "h:1"), presence("a", "zz", "theirs"))
    found = namesake(folded, "a", "ours", 1_000)
    assert found is not None
    assert found.address == "h:1"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmbeddedBus]:
    opened = EmbeddedBus(tmp_path / "bus")
    opened.ensure_topics(TOPICS.all())
    yield opened
    opened.close()


def test_refusing_says_who_it_is_and_what_to_do(bus: EmbeddedBus) -> None:
    said = status_pb2.StatusRecord(presence=presence("a", "serving-0", "theirs", "h:1"))
    bus.append(TOPICS.status.name, presence_key("a", "serving-0"), said.SerializeToString())
    refuse_namesake(bus, TOPICS, "a", "theirs")
    refuse_namesake(bus, TOPICS, "b", "ours")
    with pytest.raises(ConflictError, match=r"serving-0 \(h:1, pid 7\), seen \d+ s ago; .* with --node"):
        refuse_namesake(bus, TOPICS, "a", "ours")


def test_an_installation_keeps_its_id_and_no_other_has_it(tmp_path: Path) -> None:
    first = installation_id(tmp_path)
    assert installation_id(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert installation_id(tmp_path / "other") != first


@pytest.mark.parametrize("torn", [b"", b"abc", b"\xff\x00"])
def test_a_torn_id_is_made_anew(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "installation").write_bytes(torn)
    made = installation_id(tmp_path)
    assert len(made) == 32
    assert installation_id(tmp_path) == made
