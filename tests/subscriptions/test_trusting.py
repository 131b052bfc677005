"""Following the ledger with trusted keys, and what becomes of what is known when other keys are trusted."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from protos.records import MILLION, ModelRecord
from serving.bus.embedded.bus import EmbeddedBus
from serving.trust.keys import SigningKeys
from serving.trust.trust import Trust
from tests.builders.buses import TOPICS
from tests.builders.ledger import Entry, announcement, blocking, retirement, rollout
from tests.builders.trust import ANN, BOB, EVE, rule, signed, trusting
from tests.builders.waiting import wait_until
from tests.subscriptions.scene import LEDGER, following


def identity(folder: Path) -> str:
    bus = EmbeddedBus(folder / "bus")
    bus.ensure_topics(TOPICS.all())
    try:
        return bus.identity(LEDGER)
    finally:
        bus.close()


class Voices:
    """What Ann, Bob and Eve say on the topic of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def by(self, keys: SigningKeys, *entries: Entry) -> list[Entry]:
        topic = identity(self.folder)
        return [signed(entry, keys, audience=topic) for entry in entries]


@pytest.fixture
def voices(tmp_path: Path) -> Voices:
    return Voices(tmp_path)


@pytest.fixture
def both(tmp_path: Path) -> Trust:
    return trusting(tmp_path, rule("ann", ANN), rule("bob", BOB))


@pytest.fixture
def ann(tmp_path: Path) -> Trust:
    return trusting(tmp_path, rule("ann", ANN))


def followed(
    folder: Path, trust: Trust | None, entries: Iterable[Entry] = (), name: str = "w0"
) -> dict[str, ModelRecord]:
    """Start a follower, say something, and return what it knows in the end."""
    with following(folder, name=name, trust=trust) as scene:
        end = len(scene.faults)
        scene.say(*entries, (b"@end", b""))
        wait_until(lambda: len(scene.faults) > end and scene.faults[-1][1].kind == status_pb2.UNDECODABLE)
        wait_until(lambda: scene.caught_up)
        return scene.models


def test_a_forged_version_is_told_and_the_true_one_after_it_is_taken(
    tmp_path: Path, voices: Voices, ann: Trust
) -> None:
    forged = announcement("m", 5, content="forged")
    with following(tmp_path, trust=ann) as scene:
        scene.say(forged, *voices.by(EVE, forged), *voices.by(ANN, announcement("m", 5)))
        wait_until(lambda: scene.versions() == {5})
        assert [(offset, verdict.kind, verdict.version) for offset, verdict in scene.faults] == [
            (0, status_pb2.SIGNATURE, 5),
            (1, status_pb2.SIGNATURE, 5),
        ]
        assert scene.models["m"].versions[5].offset == 2


def test_a_restart_with_the_same_keys_begins_with_the_checkpoint(tmp_path: Path, voices: Voices, ann: Trust) -> None:
    before = followed(tmp_path, ann, voices.by(ANN, announcement("m", 1)))
    with following(tmp_path, away=True, trust=ann) as scene:
        assert scene.models == before


def test_what_a_removed_key_had_signed_is_not_known_any_more_even_without_the_bus(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust
) -> None:
    said = [*voices.by(ANN, announcement("m", 1)), *voices.by(BOB, announcement("m", 2), announcement("other", 1))]
    assert set(followed(tmp_path, both, said)["m"].versions) == {1, 2}
    with following(tmp_path, away=True, trust=ann) as scene:
        assert (set(scene.models), scene.versions()) == ({"m"}, {1})
        scene.connect.away = False
        wait_until(lambda: status_pb2.SIGNATURE in {verdict.kind for _, verdict in scene.faults})
        wait_until(lambda: not scene.follower.degraded_since_ms)
        assert (set(scene.models), scene.versions()) == ({"m"}, {1})


def test_what_had_lost_against_a_removed_key_wins(tmp_path: Path, voices: Voices, both: Trust, ann: Trust) -> None:
    said = [
        *voices.by(ANN, announcement("m", 1), announcement("m", 2)),
        *voices.by(BOB, announcement("m", 5, content="bob"), rollout("m", 1, {2: MILLION})),
        *voices.by(ANN, announcement("m", 5, content="ann"), rollout("m", 1, {1: MILLION})),
    ]
    before = followed(tmp_path, both, said)["m"]
    assert (before.versions[5].offset, before.lines[0].shares[0].version) == (2, 2)
    after = followed(tmp_path, ann)["m"]
    assert (after.versions[5].offset, after.lines[0].shares[0].version) == (4, 1)


@pytest.mark.parametrize("first", ["both", "ann", "nobody"])
def test_an_old_node_ends_where_a_fresh_one_does_whatever_it_trusted_before(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust, first: str
) -> None:
    said = [
        *voices.by(BOB, announcement("m", 1, content="bob"), blocking("m", epoch=1, a=0)),
        *voices.by(ANN, announcement("m", 1), announcement("m", 2), blocking("m", epoch=1, b=0)),
        announcement("m", 3),
        *voices.by(EVE, retirement("m", 2)),
    ]
    followed(tmp_path, {"both": both, "ann": ann, "nobody": None}[first], said)
    for trust in (both, ann, None):
        old, fresh = followed(tmp_path, trust), followed(tmp_path, trust, name=f"fresh-{first}-{id(trust)}")
        assert old == fresh
        assert old["m"].versions[1].offset == (2 if trust is ann else 0)


def test_trusting_keys_for_the_first_time_unsays_what_nobody_signed(tmp_path: Path, voices: Voices, ann: Trust) -> None:
    followed(tmp_path, None, [announcement("m", 1), *voices.by(ANN, announcement("m", 2))])
    assert set(followed(tmp_path, ann)["m"].versions) == {2}
    kept = trusting(tmp_path, rule("ann", ANN), ledgers=[{"id": identity(tmp_path), "unsigned_below": 1}])
    assert set(followed(tmp_path, kept)["m"].versions) == {1, 2}


def test_a_topic_that_was_created_again_takes_nothing_away_under_other_keys_either(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust
) -> None:
    said = [*voices.by(ANN, announcement("m", 1)), *voices.by(BOB, announcement("m", 2))]
    followed(tmp_path, both, said)
    (tmp_path / "bus").rename(tmp_path / "lost")
    again = followed(tmp_path, both, voices.by(BOB, announcement("m", 3)) + voices.by(ANN, announcement("m", 4)))
    assert set(again["m"].versions) == {1, 2, 3, 4}
    assert set(followed(tmp_path, ann)["m"].versions) == {1, 4}
    assert set(followed(tmp_path, both)["m"].versions) == {1, 3, 4}, "what the lost topic alone had said is gone"


def test_what_was_said_on_the_topic_before_does_not_count_on_the_new_one(
    tmp_path: Path, voices: Voices, ann: Trust
) -> None:
    old = voices.by(ANN, announcement("m", 1), announcement("m", 2))
    followed(tmp_path, ann, old[:1])
    (tmp_path / "bus").rename(tmp_path / "lost")
    with following(tmp_path, trust=ann) as scene:
        scene.say(old[1])
        wait_until(lambda: scene.faults)
        assert scene.versions() == {1}
        assert "expected one for topic" in scene.faults[0][1].message


def test_a_key_that_is_added_while_it_follows_makes_what_was_refused_count(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust
) -> None:
    with following(tmp_path, trust=ann) as scene:
        scene.say(*voices.by(ANN, announcement("m", 1)), *voices.by(BOB, announcement("m", 2)), announcement("m", 3))
        wait_until(lambda: len(scene.faults) == 2)
        scene.trust = both
        wait_until(lambda: scene.versions() == {1, 2})
        wait_until(lambda: scene.sound == [1], "its fault is taken back, and the other's is not")
        assert len(scene.faults) == 2, "what is refused still is not told once more"
        assert scene.announced[-1] == ("m", 2)
        scene.say(*voices.by(BOB, announcement("m", 4)))
        wait_until(lambda: scene.versions() == {1, 2, 4})


def test_what_a_key_had_signed_is_gone_as_soon_as_it_is_taken_away_and_another_wins(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust
) -> None:
    with following(tmp_path, trust=both) as scene:
        scene.say(
            *voices.by(BOB, announcement("m", 5, content="bob"), announcement("other", 1)),
            *voices.by(ANN, announcement("m", 5, content="ann"), announcement("m", 6)),
        )
        wait_until(lambda: scene.versions() == {5, 6})
        assert scene.models["m"].versions[5].offset == 0
        scene.trust = ann
        wait_until(lambda: scene.known_when_retrusted, "told")
        assert scene.known_when_retrusted == [{"m"}], "nothing of the other model was left then"
        wait_until(lambda: scene.versions() == {5, 6} and scene.models["m"].versions[5].offset == 2)
        assert scene.models["other"] == ModelRecord()
    assert followed(tmp_path, ann, name="fresh")["m"] == scene.models["m"]


def test_a_key_is_taken_away_without_the_bus_too(tmp_path: Path, voices: Voices, both: Trust, ann: Trust) -> None:
    said = [*voices.by(ANN, announcement("m", 1)), *voices.by(BOB, announcement("m", 2))]
    followed(tmp_path, both, said)
    with following(tmp_path, away=True, trust=both) as scene:
        assert scene.versions() == {1, 2}
        scene.trust = ann
        wait_until(lambda: scene.versions() == {1})
        scene.trust = both
        scene.connect.away = False
        wait_until(lambda: scene.versions() == {1, 2})


def test_keys_that_come_back_before_the_topic_was_read_change_nothing(
    tmp_path: Path, voices: Voices, both: Trust, ann: Trust
) -> None:
    before = followed(tmp_path, both, voices.by(BOB, announcement("m", 1), retirement("m", 1)))
    with following(tmp_path, away=True, trust=both) as scene:
        for trust in (ann, both):
            scene.trust = trust
            seen = len(scene.known_when_retrusted)
            wait_until(lambda seen=seen: len(scene.known_when_retrusted) > seen)  # type: ignore[misc]
        scene.connect.away = False
        wait_until(lambda: scene.caught_up)
        assert {name: record for name, record in scene.models.items() if record.versions} == before
