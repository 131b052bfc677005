"""`nearline history`: the audit trail, for people and programs."""

from pathlib import Path

import pytest

from protos.nearline.v1 import ledger_pb2
from protos.records import MILLION
from serving.bus.connect import connect_bus
from tests.builders.ledger import Entry, announcement, record, rollout
from tests.builders.trust import ANN, EVE, rule, signed, trust_file
from tests.cli.program import Program


def say(program: Program, *entries: Entry) -> None:
    settings = program.settings
    bus = connect_bus(settings.bus, settings.data_dir)
    bus.ensure_topics(settings.topics.all())
    bus.append_many(settings.topics.models.name, list(entries))
    bus.close()


def identity(program: Program) -> str:
    settings = program.settings
    bus = connect_bus(settings.bus, settings.data_dir)
    bus.ensure_topics(settings.topics.all())
    try:
        return bus.identity(settings.topics.models.name)
    finally:
        bus.close()


def test_what_was_said_is_shown_with_who_signed_it(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = identity(program)
    monkeypatch.setenv("NEARLINE_TRUSTED_KEYS", str(trust_file(tmp_path, rule("ann", ANN))))
    say(
        program,
        signed(announcement("m", 1), ANN, audience=topic),
        signed(announcement("m", 2), EVE, audience=topic),
        signed(rollout("m", 1, {1: MILLION}), ANN, audience=topic),
    )
    said = program.ask("history", "m")
    assert (said["model"], said["ledger"], said["end"]) == ("m", topic, 3)
    assert [(one["offset"], one["action"], one["signature"], one["signer"]) for one in said["records"]] == [
        (0, "publish", "valid", "ann"),
        (1, "publish", "refused", EVE.public.id[:16]),
        (2, "rollout", "valid", "ann"),
    ]
    shown = program("history", "m").out
    for words in ("valid ann", "refused", "version 1 100 % everywhere", "which is unknown", topic):
        assert words in shown


def test_a_model_that_nobody_spoke_of_is_named(program: Program) -> None:
    say(program, announcement("m", 1))
    assert "expected a model that the ledger knows, got 'shop'" in program("history", "shop").error


def test_a_record_cannot_write_to_the_terminal(program: Program) -> None:
    said = ledger_pb2.Statement(
        model="m", publisher="\x1b[2J[red]me", retirement=ledger_pb2.Retirement(version=1, reason="\x1b]0;x\x07\n")
    )
    say(program, announcement("m", 1), record(said))
    shown = program("history", "m").out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "?[2J[red]me" in shown
