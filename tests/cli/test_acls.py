"""`nearline acls`: what it prints for an administrator."""

import shlex

import pytest

from tests.cli.program import Program


def test_without_names_every_role_is_printed_with_its_own_name(program: Program) -> None:
    ended = program("acls")
    lines = ended.out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("#")] == [
        "# publisher",
        "# node",
        "# event-producer",
        "# operator",
        "# reader",
    ]
    start = "kafka-acls.sh --bootstrap-server HOST:PORT --command-config admin.properties --add --allow-principal"
    assert f"{start} User:event-producer --operation Write --topic nearline.events" in lines
    assert f"{start} User:node --operation Read --group nearline.nearline --resource-pattern-type prefixed" in lines


def test_users_and_topics_are_those_of_the_deployment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_TOPIC_PREFIX", "shop.")
    monkeypatch.setenv("NEARLINE_EVENTS_TOPIC", "clicks")
    monkeypatch.setenv("NEARLINE_BUS", "kafka://a:1,b:2")
    acls = program.ask("acls", "--node", "CN=node one", "--node", "User:two")["acls"]
    assert {acl["principal"] for acl in acls} == {"User:CN=node one", "User:two"}
    assert {acl["name"] for acl in acls if acl["resource"] == "topic"} == {
        "shop.models",
        "shop.status",
        "clicks",
        "shop.commands",
        "shop.dead-letters",
    }
    words = shlex.split(program("acls", "--node", "CN=node one").out.splitlines()[1])
    assert words[words.index("--allow-principal") + 1] == "User:CN=node one"
    assert words[words.index("--bootstrap-server") + 1] == "a:1,b:2"


def test_who_makes_the_topics_leaves_out_the_right_to_create_them(program: Program) -> None:
    operations = {o for acl in program.ask("acls", "--no-create")["acls"] for o in acl["operations"]}
    assert operations == {"Read", "Write", "Describe"}


def test_a_name_that_is_none_is_refused(program: Program) -> None:
    ended = program("acls", "--node", " ")
    assert (ended.code, ended.error) == (2, "principal: expected a user's name, got ' '")
