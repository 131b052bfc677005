"""`nearline rollout`, `rollback`, `unpin`, `retire`, `retry`."""

import pytest

from protos.nearline.v1 import status_pb2
from protos.nearline.v1.status_pb2 import FAILED, READY
from serving.bus import read_status
from serving.bus.connect import connect_bus
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.read_status import clock_ms
from serving.cli.errors import NO_NODE, NOT_READY, USAGE
from tests.builders.fleet import beating
from tests.builders.ledger import announced, announcement
from tests.cli.conftest import Fleet
from tests.cli.program import Ended, Program


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


@pytest.fixture
def held(program: Program, digests: dict[int, str]) -> str:
    """Digest of a version 4 that is held."""
    bus = connect_bus(program.settings)
    bus.append(program.settings.topics.models.name, *announcement(version=4, held=True))
    bus.close()
    assert 4 not in digests
    return announced(4).digest


def ready(program: Program, *options: str) -> Ended:
    return program("rollout", "m", "--version", "4", "--when-ready", "all", *options)


def test_a_version_that_is_ready_is_rolled_out_scope_by_scope(program: Program, held: str, fleet: Fleet) -> None:
    fleet.live("a", region="eu")
    fleet.live("b", region="us")
    fleet.say("a", 4, held, READY)
    assert ready(program, "--scope", "region=eu").code == 0
    fleet.say("b", 4, held, READY)
    assert ready(program, "--scope", "region=us").code == 0
    lines = ready(program, "--json").json["lines"]
    assert [(line["scope"], line["shares"]) for line in lines] == [
        ({"region": "eu"}, {"4": 1.0}),
        ({"region": "us"}, {"4": 1.0}),
        ({}, {"4": 1.0}),
    ]


def test_too_few_that_are_ready_are_shown_with_why_and_nothing_changes(
    program: Program, held: str, fleet: Fleet
) -> None:
    for worker in "abc":
        fleet.live(worker)
    fleet.say("a", 4, held, READY)
    fleet.say("b", 4, held, FAILED, error="no such file")
    ended = ready(program)
    assert (ended.code, ended.out) == (NOT_READY, "")
    assert "LOAD: no such file" in ended.err
    assert "nothing was heard of it from n/c" in ended.err
    expected = "version 4 of m: expected READY in 3 of 3 live instances, got 1; nothing was changed"
    assert ended.err.splitlines()[-1] == f"error: {expected}"
    said = ready(program, "--json").json
    assert (said["error"], said["silent"], [i["state"] for i in said["instances"]]) == (
        expected,
        ["n/c"],
        ["READY", "FAILED"],
    )
    assert program.ask("models")["models"][0]["serving"] == {"3": 1.0}
    assert ready(program, "--when-ready", "33%").code == 0


def test_what_is_tried_again_is_waited_for_until_the_time_is_over_and_shown_with_why(
    program: Program, held: str, fleet: Fleet
) -> None:
    fleet.live("a")
    fleet.say("a", 4, held, FAILED, error="no such file", retry_at_ms=1)
    ended = ready(program, "--timeout", "0.1")
    assert ended.code == NOT_READY
    assert "LOAD: no such file" in ended.err
    assert ended.err.splitlines()[-1] == (
        "error: version 4 of m: expected READY in 1 of 1 live instances, got 0; 1 that failed are tried again: "
        "--timeout says how long that is waited for; nothing was changed"
    )


@pytest.mark.usefixtures("held")
def test_with_nobody_live_or_nobody_there_it_says_so(program: Program, fleet: Fleet) -> None:
    assert (ready(program).code, ready(program).error) == (
        NO_NODE,
        "version 4 of m: no node is live, so nobody has loaded it; nothing was changed",
    )
    fleet.live("a", region="eu")
    ended = ready(program, "--scope", "region=mars")
    assert (ended.code, ended.error) == (
        NO_NODE,
        "version 4 of m: no worker is live on a node with region=mars (1 are on others); nothing was changed",
    )


@pytest.mark.usefixtures("digests")
def test_a_version_that_no_node_loads_is_said_to_be_so_at_once(program: Program, fleet: Fleet) -> None:
    fleet.live("a")
    ended = program("rollout", "m", "--version", "2", "--when-ready", "all")
    assert ended.code == NOT_READY
    assert "got 0; 1 will not load it, as it is neither to serve there nor the newest version and held" in ended.err


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_clock_that_is_an_hour_wrong_sees_who_is_live(
    program: Program, held: str, fleet: Fleet, graph: str, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    monkeypatch.setattr(EmbeddedBus, "now_ms", lambda _bus: None)  # as a broker, which cannot be asked
    monkeypatch.setattr(read_status, "clock_ms", lambda: clock_ms() + 1000 * ahead_s)
    worker = status_pb2.Presence(node="n", worker="a", incarnation="a", trusted_keys=["k"])
    fleet.say("a", 4, held, READY)
    with beating(lambda: connect_bus(program.settings), program.settings.topics.status.name, worker):
        assert [worker["live"] for worker in program.ask("nodes")["workers"]] == [True]
        refused = program("publish", "other", graph)
        assert "since n accepts no other, got none" in refused.error, "the gate passed, and n is heard to be deaf"
        worker.ClearField("trusted_keys")
        assert "since n accepts no other" in ready(program).error, "its record says so until it beats again"
    with beating(lambda: connect_bus(program.settings), program.settings.topics.status.name, worker):
        checks = program.ask("publish", "other", graph)["gate"]
        assert "by all 1" in {check["expected"] for check in checks}
        assert ready(program).code == 0


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
        (["rollout", "m", "--share=1=10", "--when-ready=1"], "--when-ready: expected --version beside it, got --share"),
        (["rollout", "m", "--version=1", "--when-ready=x"], "--when-ready: expected all, or a percentage above 0, got 'x'"),  # noqa: E501
        (["unpin", "m", "--scope", "a=1", "--scope", "a=2"], "--scope: expected each name once, got 'a' twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(program: Program, arguments: list[str], message: str) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.out, ended.error) == (USAGE, "", message)
