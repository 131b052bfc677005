"""`nearline rollout`, `rollback`, `unpin`, `retire`, `retry`."""

import pytest

from protos.nearline.v1.status_pb2 import READY
from serving.bus.connect import connect_bus
from serving.cli.errors import USAGE
from tests.builders.ledger import announced, announcement
from tests.cli.conftest import Fleet
from tests.cli.program import Program


@pytest.fixture
def digests(program: Program) -> dict[int, str]:
    """Versions 1, 2 and 3 of m, announced without bundles, and their digests."""
    settings = program.settings
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    bus.append_many(settings.topics.models.name, [announcement(version=version) for version in (1, 2, 3)])
    bus.close()
    return {version: announced(version).digest for version in (1, 2, 3)}


@pytest.mark.usefixtures("digests")
def test_a_version_is_pinned_shared_scoped_and_unpinned(program: Program) -> None:
    assert program.ask("rollout", "m", "--version", "1") == {
        "model": "m",
        "epoch": 1,
        "lines": [{"scope": {}, "shares": {"1": 1.0}}],
        "retired": [],
    }
    shared = program.ask("rollout", "m", "--share", "3=10%", "--share", "2=0.5", "--scope", "region=eu")
    assert shared["lines"] == [
        {"scope": {}, "shares": {"1": 1.0}},
        {"scope": {"region": "eu"}, "shares": {"3": 0.1, "2": 0.005, "1": 0.895}},
    ]
    assert program.ask("unpin", "m", "--scope", "region=eu")["lines"] == [{"scope": {}, "shares": {"1": 1.0}}]
    assert program.ask("unpin", "m") == {"model": "m", "epoch": 4, "lines": [], "retired": []}


@pytest.mark.usefixtures("digests")
def test_people_get_a_table(program: Program) -> None:
    table = program("rollout", "m", "--share", "3=10%", "--scope", "region=eu").out
    assert "m: rollout epoch 1" in table
    assert "region=eu" in table
    assert "3 (10 %), 2 (90 %)" in table
    assert "the newest version serves everywhere" in program("unpin", "m").out


def test_a_rollback_pins_what_has_been_ready(program: Program, digests: dict[int, str], fleet: Fleet) -> None:
    fleet.say("w0", 1, digests[1], READY)
    fleet.say("w0", 3, digests[3], READY)
    assert program.ask("rollback", "m", "--reason", "clicks fell")["lines"] == [{"scope": {}, "shares": {"1": 1.0}}]


def test_a_rollback_leaves_scoped_lines_as_they_are_and_shows_them(
    program: Program, digests: dict[int, str], fleet: Fleet
) -> None:
    fleet.say("w0", 1, digests[1], READY)
    program("rollout", "m", "--version", "3", "--scope", "region=eu")
    table = program("rollback", "m").out
    assert "everywhere" in table
    assert "region=eu" in table
    assert "stay as they are" in program("rollback", "--help").out


@pytest.mark.usefixtures("digests")
def test_a_rollback_to_nothing_says_what_to_do(program: Program) -> None:
    ended = program("rollback", "m")
    assert ended.code == USAGE
    assert ended.error.startswith("rollback: expected a version of m below 3 that has been READY, got none")
    assert "`nearline rollout m --version N`" in ended.error


@pytest.mark.usefixtures("digests")
def test_a_retired_version_can_not_come_back(program: Program) -> None:
    assert program("retire", "m", "2", "--reason", "leaks").out == "m version 2 is retired\n"
    ended = program("rollout", "m", "--version", "2")
    assert (ended.code, ended.error) == (
        USAGE,
        "version: expected one of m's that is not retired, got 2, which is",
    )
    assert program.ask("retire", "m", "3") == {"model": "m", "retired": 3}


@pytest.mark.usefixtures("digests")
def test_a_retry_is_of_the_newest_unless_told(program: Program) -> None:
    assert program.ask("retry", "m") == {"model": "m", "version": 3}
    assert program("retry", "m", "1").out.startswith("m version 1 will be tried once more; see `nearline status m`")


@pytest.mark.usefixtures("digests")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rollout", "m"], "rollout: expected either --version or --share, got neither"),
        (["rollout", "m", "--version=1", "--share=1=10"], "rollout: expected either --version or --share, got both"),
        (["rollout", "m", "--version", "9"], "version: expected one of m's (1, 2, 3), got 9"),
        (["rollout", "n", "--version", "1"], "model: expected an announced one (m), got 'n'"),
        (["rollback", "n"], "model: expected an announced one (m), got 'n'"),
        (["unpin", "n"], "model: expected an announced one (m), got 'n'"),
        (["retire", "m", "9"], "version: expected one of m's (1, 2, 3), got 9"),
        (["retry", "m", "0"], "version: expected one of m's (1, 2, 3), got 0"),
        (["rollout", "m", "--share", "3"], "--share: expected VERSION=PERCENT, such as 3=10%, got '3'"),
        (["rollout", "m", "--share", "3=x%"], "--share: expected VERSION=PERCENT, such as 3=10%, got '3=x%'"),
        (["rollout", "m", "--share", "3=inf"], "--share: expected VERSION=PERCENT, such as 3=10%, got '3=inf'"),
        (["rollout", "m", "--share", "3=nan"], "--share: expected VERSION=PERCENT, such as 3=10%, got '3=nan'"),
        (["rollout", "m", "--share=3=1", "--share=3=2"], "--share: expected each version once, got version 3 twice"),
        (["rollout", "m", "--share", "3=0"], "shares: expected more than 0 %, and 100 % at most together, got 0 %"),
        (["rollout", "m", "--share", "3=101"], "shares: expected more than 0 %, and 100 % at most together, got 101 %"),
        (["rollout", "m", "--version", "1", "--scope", "eu"], "--scope: expected name=value, got 'eu'"),
        (["unpin", "m", "--scope", "a=1", "--scope", "a=2"], "--scope: expected each name once, got 'a' twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(program: Program, arguments: list[str], message: str) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.out, ended.error) == (USAGE, "", message)
