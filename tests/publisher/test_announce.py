"""Announcing: who was first is settled by reading back."""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protos.digest import bundle_digest
from protos.names import InvalidNameError
from publisher.announce import Announceable, Announcement, announce
from publisher.ledger import Ledger, publisher_name
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.port import Appended
from serving.errors import BusUnavailableError, ConflictError, UserError
from tests.builders.buses import TOPICS, append, everything
from tests.builders.ledger import announcement, files


def say(
    ledger: Ledger, content: str, version: int | None = None, model: str = "m", *, held: bool = False
) -> Announcement:
    listed = files(content)
    return announce(
        ledger, Announceable(model, bundle_digest(listed), f"file:///{content}", listed, version=version, held=held)
    )


def test_the_version_is_the_newest_and_one(ledger: Ledger) -> None:
    assert say(ledger, "a").version == 1
    assert say(ledger, "b").version == 2
    assert say(ledger, "c", 7).version == 7
    assert say(ledger, "d").version == 8
    assert say(ledger, "a", model="other").version == 1


def test_a_version_below_the_newest_may_be_given(ledger: Ledger) -> None:
    say(ledger, "a", 5)
    assert say(ledger, "b", 3).version == 3
    assert say(ledger, "c").version == 6


def test_the_announcement_can_be_read_back_as_it_was_said(ledger: Ledger) -> None:
    said = say(ledger, "a", held=True)
    read = ledger.read().models["m"].versions[1]
    assert (read.digest, read.uri, read.held, read.offset) == (said.digest, said.uri, True, said.offset)
    assert read.files == files("a")
    assert said.timestamp_ms > 0


def test_another_bundle_under_the_same_number_is_a_conflict_that_names_a_free_one(ledger: Ledger) -> None:
    say(ledger, "a", 3)
    with pytest.raises(ConflictError, match=r"^version 3 of m exists with digest .*; leave --version out to take 4$"):
        say(ledger, "b", 3)
    assert ledger.read().models["m"].versions[3].digest == bundle_digest(files("a"))


def test_the_same_bundle_again_under_the_same_number_is_no_error(ledger: Ledger) -> None:
    first, again = say(ledger, "a", 3), say(ledger, "a", 3)
    assert (again.version, again.offset, again.uri) == (3, first.offset, first.uri)
    assert (first.again, again.again) == (False, True)
    assert [say(ledger, "b", 4, held=True).again for _ in range(2)] == [False, True]


def test_what_is_held_stays_so_and_what_is_not_too(ledger: Ledger) -> None:
    say(ledger, "a", 1)
    say(ledger, "b", 2, held=True)
    with pytest.raises(ConflictError, match=r"^version 1 of m was announced without --hold, .* out to take 3$"):
        say(ledger, "a", 1, held=True)
    with pytest.raises(ConflictError, match=r"^version 2 of m was announced with --hold, .*`nearline rollout m --ver"):
        say(ledger, "b", 2)
    assert {v: known.held for v, known in ledger.read().models["m"].versions.items()} == {1: False, 2: True}


def test_the_same_bundle_without_a_number_is_a_new_version(ledger: Ledger) -> None:
    assert [say(ledger, "a").version for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("version", [0, -1])
def test_a_number_below_one_is_refused_and_not_taken_for_the_default(ledger: Ledger, version: int) -> None:
    with pytest.raises((UserError, InvalidNameError, ValueError)):
        say(ledger, "a", version)
    assert ledger.read().models == {}


def test_a_statement_that_the_ledger_refuses_is_the_callers_error(ledger: Ledger) -> None:
    with pytest.raises(UserError, match=r"^digest: expected .* of the files listed, got "):
        announce(ledger, Announceable("m", "0" * 64, "file:///a", files("a")))


def test_records_that_nobody_can_read_do_not_stop_a_publisher(tmp_path: Path, ledger: Ledger) -> None:
    append(tmp_path, TOPICS.models.name, (b"m", b"\xff\xff"), (b"m", None), announcement(version=4))
    assert say(ledger, "a").version == 5


class Overtaken(EmbeddedBus):
    """Somebody else's announcements come in between reading and appending, so many times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(folder / "bus")
        self.times = times
        self.taken = 0

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        if self.taken < self.times:
            self.taken += 1
            super().append(topic, *announcement(version=self.taken, content=f"theirs {self.taken}"))
        return super().append(topic, key, value, partition)


def test_who_was_overtaken_by_one_that_is_not_held_learns_that_it_may_serve(tmp_path: Path) -> None:
    bus = Overtaken(tmp_path, times=1)
    with pytest.raises(ConflictError, match="version 1 of m was announced without --hold"):
        say(Ledger(bus, TOPICS), "theirs 1", 1, held=True)
    bus.close()


def test_who_was_overtaken_takes_the_next_number(tmp_path: Path) -> None:
    bus = Overtaken(tmp_path, times=3)
    assert say(Ledger(bus, TOPICS), "mine").version == 4
    bus.close()


def test_who_was_overtaken_on_a_given_number_learns_it(tmp_path: Path) -> None:
    bus = Overtaken(tmp_path, times=1)
    with pytest.raises(ConflictError, match="version 1 of m exists"):
        say(Ledger(bus, TOPICS), "mine", 1)
    bus.close()


def test_who_is_overtaken_again_and_again_gives_up(tmp_path: Path) -> None:
    bus = Overtaken(tmp_path, times=1000)
    with pytest.raises(ConflictError, match=r"^others were first 20 times in a row: version 20 "):
        say(Ledger(bus, TOPICS), "mine")
    bus.close()


def test_publishers_in_threads_get_distinct_versions(tmp_path: Path) -> None:
    def publish(name: str) -> list[int]:
        bus = EmbeddedBus(tmp_path / "bus")
        try:
            ledger = Ledger(bus, TOPICS)
            return [say(ledger, f"{name} {n}").version for n in range(5)]
        finally:
            bus.close()

    with ThreadPoolExecutor(4) as pool:
        versions = [version for found in pool.map(publish, "abcd") for version in found]
    assert sorted(versions) == list(range(1, 21))


_PROCESS = """
import json, sys
from pathlib import Path
from publisher.ledger import Ledger
from serving.bus.embedded.bus import EmbeddedBus
from tests.builders.buses import TOPICS
from tests.publisher.test_announce import say
bus = EmbeddedBus(Path(sys.argv[1]))
ledger = Ledger(bus, TOPICS)
sys.stdin.readline()
print(json.dumps([say(ledger, f"{sys.argv[2]} {n}").version for n in range(5)]))
bus.close()
"""


def test_publishers_in_processes_get_distinct_versions(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(tmp_path / "bus"), name],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    versions = Counter(v for process in started for v in json.loads(process.communicate("go\n", timeout=200)[0]))
    assert versions == Counter(range(1, 11))


def test_a_bus_that_forgets_what_was_appended_is_said_to_be_away(tmp_path: Path) -> None:
    class Forgetful(EmbeddedBus):
        def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
            del topic, key, value, partition
            return Appended(0, -1, 0)

    bus = Forgetful(tmp_path / "bus")
    with pytest.raises(BusUnavailableError, match=r"topic t\.models: expected to read back offset -1, got nothing"):
        say(Ledger(bus, TOPICS), "a")
    bus.close()
    assert everything(tmp_path, TOPICS.models.name) == []


def test_the_record_says_who_published(ledger: Ledger) -> None:
    user, _, host = publisher_name().partition("@")
    assert user
    assert host
    assert say(ledger, "a").version == 1
