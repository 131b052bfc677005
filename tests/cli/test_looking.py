"""`nearline status`, `nodes`, `event`, `recommend`, without a node."""

import pytest

from protos.nearline.v1 import status_pb2
from protos.nearline.v1.status_pb2 import FAILED, READY
from protos.topics import fault_key
from serving.bus.connect import connect_bus
from serving.cli.errors import UNAVAILABLE, USAGE
from serving.cli.options import parse_scalars
from serving.cli.times import EXPECTED_INSTANT, EXPECTED_LENGTH
from serving.recipes.event import decode_event
from tests.cli.conftest import Fleet
from tests.cli.program import Program


def test_an_empty_installation_says_what_to_do(program: Program) -> None:
    ended = program("status")
    assert ended.code == 0
    assert "publish one with `nearline publish NAME MODEL`" in ended.out
    assert program.ask("status") == {"instances": [], "faults": []}
    assert program.ask("nodes") == {"workers": [], "pruned": 0}
    assert program("nodes").out == "no worker is known; run a node with `nearline serve`\n"


def test_status_shows_each_instance_with_its_error_as_it_is(program: Program, fleet: Fleet) -> None:
    fleet.live("w0")
    fleet.say("w0", 1, "d", READY)
    fleet.say("w0", 2, "e", FAILED, error="expected INT64 of shape [batch, k] [/x]")
    table = program("status").out
    assert "LOAD: expected INT64 of shape [batch, k] [/x]" in table
    said = program.ask("status", "m")["instances"]
    assert [(i["version"], i["state"], i["error"] and i["error"]["kind"]) for i in said] == [
        (2, "FAILED", "LOAD"),
        (1, "READY", None),
    ]


def test_status_shows_how_far_a_backfill_is(program: Program, fleet: Fleet) -> None:
    fleet.live("w0")
    fleet.say("w0", 1, "d", READY)
    assert "filled" not in program("status").out, "nobody computes it near-line"
    fleet.live("nearline-0")
    fleet.say("nearline-0", 1, "d", READY, backfill=(4000, 3000))
    table = program("status").out
    assert "filled" in table
    assert "25 % of 4,000" in table
    said = {i["worker"]: i["backfill"] for i in program.ask("status")["instances"]}
    assert said == {"nearline-0": {"total": 4000, "left": 3000}, "w0": {"total": 0, "left": 0}}


def test_status_of_a_mistyped_model_names_those_that_there_are(program: Program, fleet: Fleet, graph: str) -> None:
    fleet.live("w0")
    fleet.say("w0", 1, "d", READY)
    program("publish", "shop", graph)
    ended = program("status", "nope")
    assert (ended.code, ended.out) == (USAGE, "")
    assert ended.error == "model: expected one that is known (m, shop), got 'nope'"
    assert "(m, shop)" in program("status", "nope", "--json").json["error"]
    assert program.ask("status", "shop") == {"instances": [], "faults": []}, "announced, and no node has said anything"


def test_status_leaves_out_processes_that_are_gone_unless_asked(program: Program, fleet: Fleet) -> None:
    fleet.say("w0", 1, "d", READY)
    assert program.ask("status")["instances"] == []
    assert len(program.ask("status", "--all")["instances"]) == 1


def test_status_shows_ledger_records_that_could_not_be_used(program: Program) -> None:
    fault = status_pb2.LedgerFault(node="n", worker="w0", offset=7, model="m", version=2)
    fault.error.kind, fault.error.message = status_pb2.DIGEST, "expected [a], got [b]"
    bus = connect_bus(program.settings)
    bus.ensure_topics(program.settings.topics.all())
    record = status_pb2.StatusRecord(fault=fault)
    bus.append(program.settings.topics.status.name, fault_key("n", "w0", 7), record.SerializeToString())
    bus.close()
    assert "DIGEST: expected [a], got [b]" in program("status").out
    (said,) = program.ask("status")["faults"]
    assert (said["offset"], said["version"], said["kind"]) == (7, 2, "DIGEST")


@pytest.mark.parametrize("model", ["none", "[/x]", "[bold]"])
def test_status_of_an_unknown_model_says_that_nothing_is_known(program: Program, model: str) -> None:
    ended = program("status", model)
    assert ended.code == 0
    assert ended.out.startswith(f"no model instance of {model} is known; ")


def test_nodes_shows_who_is_live_with_labels(program: Program, fleet: Fleet) -> None:
    fleet.live("w0", region="eu")
    (worker,) = program.ask("nodes")["workers"]
    assert (worker["worker"], worker["live"], worker["labels"]) == ("w0", True, {"region": "eu"})
    table = program("nodes").out
    assert "region=eu" in table
    assert "live" in table


def test_pruning_forgets_nobody_who_is_live(program: Program, fleet: Fleet) -> None:
    fleet.live("w0")
    said = program.ask("nodes", "--prune")
    assert (len(said["workers"]), said["pruned"]) == (1, 0)


def test_an_event_goes_to_its_entitys_partition(program: Program) -> None:
    one, other = program.ask("event", "ann", "item=a"), program.ask("event", "ann", "item=b", "--type", "view")
    assert (one["partition"], one["offset"] + 1) == (other["partition"], other["offset"])
    assert program("event", "ann", "item=c", "--id", "x").out.startswith("appended to partition ")


@pytest.mark.parametrize("ts", ["1735689600000", "2025-01-01", "2025-01-01T01:00+01:00"])
def test_an_event_may_have_happened_at_another_time(program: Program, ts: str) -> None:
    program.ask("event", "ann", "item=a", "--ts", ts)
    bus = connect_bus(program.settings)
    reader = bus.reader(program.settings.topics.events.name)
    (record,) = [record for batch in reader.poll(0) for record in batch.records]
    reader.close()
    bus.close()
    assert decode_event(record.key, record.value, record.timestamp_ms).ts_ms == 1_735_689_600_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["event", "ann", "item"], "FIELD=VALUE: expected name=value, got 'item'"),
        (["event", "ann", "price:=dear"], "FIELD=VALUE price: expected a number, got 'dear'"),
        (["event", "ann", "price:=inf"], "FIELD=VALUE price: expected a number, got 'inf'"),
        (["recommend", "shop", "ann", "--context", "hour"], "--context: expected name=value, got 'hour'"),
        (["event", "ann", "--ts", "soon"], f"--ts: expected {EXPECTED_INSTANT}, got 'soon'"),
        (["event", "ann", "--ts", "9" * 20], f"--ts: expected {EXPECTED_INSTANT}, got '{'9' * 20}'"),
        (["recommend", "shop", "ann", "--max-age", "1"], f"--max-age: expected {EXPECTED_LENGTH}, got '1'"),
        (["event", "", "item=a"], "entity_id: expected 1 to 256 bytes of UTF-8, got an empty string"),
        (["event", "a" * 257, "item=a"], "entity_id: expected at most 256 bytes of UTF-8, got 257"),
    ],
)
def test_a_wrong_event_is_one_line(program: Program, arguments: list[str], message: str) -> None:
    ended = program(*arguments)
    assert (ended.code, ended.out, ended.error) == (USAGE, "", message)


@pytest.mark.parametrize("target", ["127.0.0.1:1", "nohost.invalid:1"])
def test_a_node_that_is_not_there_is_unavailable_with_what_to_do(program: Program, target: str) -> None:
    ended = program("recommend", "shop", "ann", "--target", target)
    assert ended.code == UNAVAILABLE
    assert ended.error.startswith(f"{target}: ")
    assert ended.error.endswith("is a node running (`nearline serve`)?")


def test_values_of_pairs_are_text_and_with_a_colon_numbers() -> None:
    said = parse_scalars(["code=22423", "count:=3", "price:=2.5"], "--x")
    assert said == {"code": "22423", "count": 3, "price": 2.5}
    assert [type(value) for value in said.values()] == [str, int, float]
