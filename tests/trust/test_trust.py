"""Whose statements count. Each rule has a test that fails without it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.ledger import World
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.records import MILLION
from protos.signing import ACTIONS, MAX_SIGNATURES, signed_bytes
from serving.trust.trust import Trust
from tests.builders.ledger import (
    Entry,
    announcement,
    blocking,
    bulk_load,
    bulk_shown,
    record,
    retirement,
    retrial,
    rollout,
)
from tests.builders.trust import ANN, BOB, EVE, TOPIC, judged, rule, signed, trusting

EVERYTHING = [
    announcement("m", 1),
    rollout("m", 1, {1: MILLION}),
    retrial("m", 1),
    blocking("m", a=0),
    bulk_load("m", 1),
    bulk_shown("m", 1, 1),
    retirement("m", 1),
]


def _kind(entry: Entry) -> str:
    statement = ledger_pb2.Statement.FromString(ledger_pb2.LedgerEntry.FromString(entry[1]).statement)
    return statement.WhichOneof("kind") or ""


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return trusting(tmp_path, rule("ann", ANN, "m", "shop-*"), rule("bob", BOB, "other"))


def only(trust: Trust, entry: Entry) -> tuple[str, str]:
    """What becomes of one record; a refused one changes nothing."""
    world, (verdict,) = judged(trust, entry)
    if verdict[0] == "unusable":
        assert world.models == {}
    return verdict


def test_what_a_trusted_key_signed_is_accepted_of_every_kind(trust: Trust) -> None:
    _, verdicts = judged(trust, *(signed(entry, ANN) for entry in EVERYTHING))
    assert verdicts == [("accepted", "")] * len(EVERYTHING)
    assert {f.name for f in ledger_pb2.Statement.DESCRIPTOR.oneofs_by_name["kind"].fields} == set(ACTIONS)


@pytest.mark.parametrize("entry", EVERYTHING, ids=_kind)
def test_nothing_counts_without_a_signature(trust: Trust, entry: Entry) -> None:
    world = World(judge=trust.judge(TOPIC))
    world.apply(0, *signed(announcement("m", 1), ANN))
    before = world.models["m"].snapshot()
    verdict = world.apply(1, *entry)
    assert (verdict.kind, verdict.message) == (
        status_pb2.SIGNATURE,
        "signature: expected one by a trusted key, got none",
    )
    assert world.models["m"] == before


def test_an_unknown_key_is_refused(trust: Trust) -> None:
    outcome, message = only(trust, signed(announcement("m", 1), EVE))
    assert outcome == "unusable"
    assert message == f"signature: expected one by a trusted key, got one by {EVE.public.id[:16]}, which is unknown"


def test_a_key_that_says_to_be_another_one_is_refused(trust: Trust) -> None:
    outcome, message = only(trust, signed(announcement("m", 1), EVE, claims=ANN))
    assert (outcome, "got one that does not fit it" in message) == ("unusable", True)


def test_a_statement_that_was_changed_is_refused(trust: Trust) -> None:
    key, value = signed(announcement("m", 1), ANN)
    entry = ledger_pb2.LedgerEntry.FromString(value)
    statement = ledger_pb2.Statement.FromString(entry.statement)
    statement.announcement.uri = "file:///elsewhere"
    entry.statement = statement.SerializeToString()
    outcome, message = only(trust, (key, entry.SerializeToString()))
    assert (outcome, "got one that does not fit it" in message) == ("unusable", True)


@given(st.data())
def test_no_byte_of_a_signed_record_can_be_changed_to_another_meaning(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    trust = trusting(tmp_path_factory.mktemp("trust"), rule("ann", ANN))
    key, value = signed(announcement("m", 1, held=True), ANN)
    meant = judged(trust, (key, value))[0]
    at = data.draw(st.integers(0, len(value) - 1))
    changed = bytearray(value)
    changed[at] ^= data.draw(st.integers(1, 255))
    world, _ = judged(trust, (key, bytes(changed)))
    assert world.models in ({}, meant.models)


def test_an_old_bundle_under_a_new_version_needs_a_new_signature(trust: Trust) -> None:
    key, value = signed(announcement("m", 1), ANN)
    again = announcement("m", 2, content="m 1")
    entry = ledger_pb2.LedgerEntry.FromString(again[1])
    entry.signatures.extend(ledger_pb2.LedgerEntry.FromString(value).signatures)
    world, verdicts = judged(trust, (key, value), (key, entry.SerializeToString()))
    assert [outcome for outcome, _ in verdicts] == ["accepted", "unusable"]
    assert set(world.models["m"].versions) == {1}


def test_what_was_said_before_a_rollback_cannot_be_said_again(trust: Trust) -> None:
    first, second = (signed(announcement("m", version), ANN) for version in (1, 2))
    forward = signed(rollout("m", 1, {2: MILLION}), ANN)
    back = signed(rollout("m", 2, {1: MILLION}), ANN)
    world, verdicts = judged(trust, first, second, forward, back, forward, second)
    assert [outcome for outcome, _ in verdicts[4:]] == ["lost", "repeated"]
    assert world.models["m"].lines[0].shares[0].version == 1


def test_an_old_block_list_cannot_be_said_again(trust: Trust) -> None:
    lifted = signed(blocking("m", "a", epoch=2), ANN)
    world, verdicts = judged(
        trust,
        signed(blocking("m", epoch=1, a=0), ANN),
        lifted,
        signed(blocking("m", epoch=3, a=0), ANN),
        lifted,
    )
    assert [outcome for outcome, _ in verdicts] == ["accepted", "accepted", "accepted", "lost"]
    assert world.models["m"].blocked == {"a": 0}


def test_what_was_said_on_another_topic_does_not_count(trust: Trust) -> None:
    outcome, message = only(trust, signed(announcement("m", 1), ANN, audience="staging"))
    assert outcome == "unusable"
    assert message == "signature: expected one for topic topic-1, got one by ann for 'staging'"


def test_what_was_said_on_a_topic_that_this_one_was_copied_from_counts(tmp_path: Path) -> None:
    trust = trusting(tmp_path, rule("ann", ANN), ledgers=[{"id": "lost"}])
    assert only(trust, signed(announcement("m", 1), ANN, audience="lost"))[0] == "accepted"
    assert only(trust, announcement("m", 1))[0] == "unusable"


def test_a_signature_for_another_topic_cannot_be_relabelled(trust: Trust) -> None:
    key, value = signed(announcement("m", 1), ANN, audience="staging")
    entry = ledger_pb2.LedgerEntry.FromString(value)
    entry.signatures[0].audience = TOPIC
    assert "does not fit" in only(trust, (key, entry.SerializeToString()))[1]


@pytest.mark.parametrize(("model", "outcome"), [("m", "accepted"), ("shop-home", "accepted"), ("other", "unusable")])
def test_a_publisher_may_speak_for_its_models_only(trust: Trust, model: str, outcome: str) -> None:
    assert only(trust, signed(announcement(model, 1), ANN))[0] == outcome


def test_a_key_that_is_trusted_for_another_model_is_refused(trust: Trust) -> None:
    message = "signature: bob may not speak for m: expected a model of other"
    assert only(trust, signed(announcement("m", 1), BOB)) == ("unusable", message)


@pytest.mark.parametrize("entry", EVERYTHING, ids=_kind)
def test_a_publisher_may_do_only_what_it_may(tmp_path: Path, entry: Entry) -> None:
    doing = ACTIONS[_kind(entry)]
    others = sorted(set(ACTIONS.values()) - {doing})
    may_not = trusting(tmp_path, rule("ann", ANN), rule("bob", BOB, may=others))
    first = signed(announcement("m", 1), ANN)
    outcome, message = judged(may_not, first, signed(entry, BOB))[1][1]
    assert (outcome, message.startswith(f"signature: bob may not {doing}: expected one of ")) == ("unusable", True)


def test_one_valid_signature_of_several_is_enough(trust: Trust) -> None:
    assert only(trust, signed(signed(announcement("m", 1), EVE), ANN))[0] == "accepted"


def test_more_signatures_than_anybody_needs_are_refused_unverified(trust: Trust) -> None:
    entry = announcement("m", 1)
    for _ in range(MAX_SIGNATURES + 1):
        entry = signed(entry, ANN)
    assert only(trust, entry) == ("unusable", "signature: expected at most 8, got 9")


def test_the_first_valid_record_of_a_version_wins_not_the_first(trust: Trust) -> None:
    forged, true = announcement("m", 5, content="forged"), announcement("m", 5, content="true")
    world, verdicts = judged(trust, forged, signed(forged, EVE), signed(forged, BOB), signed(true, ANN))
    assert [outcome for outcome, _ in verdicts] == ["unusable"] * 3 + ["accepted"]
    assert world.models["m"].versions[5].offset == 3


def test_a_refused_record_takes_no_epoch_and_no_number(trust: Trust) -> None:
    first = signed(announcement("m", 1), ANN)
    forged = [
        rollout("m", 9, {1: MILLION}),
        retrial("m", 1, 9),
        blocking("m", epoch=9, a=0),
        bulk_load("m", 9),
        bulk_shown("m", 9, 0),
    ]
    true = [
        rollout("m", 1, {1: MILLION}),
        retrial("m", 1, 1),
        blocking("m", epoch=1, b=0),
        bulk_load("m", 1),
        bulk_shown("m", 1, 1),
    ]
    _, verdicts = judged(trust, first, *forged, *(signed(entry, ANN) for entry in true))
    assert [outcome for outcome, _ in verdicts[1:]] == ["unusable"] * 5 + ["accepted"] * 5


def test_what_was_there_before_trust_may_be_accepted_by_its_offset(tmp_path: Path) -> None:
    trust = trusting(tmp_path, rule("ann", ANN), ledgers=[{"id": TOPIC, "unsigned_below": 1}])
    entries = announcement("m", 1), announcement("m", 2), signed(announcement("m", 3), EVE)
    assert [outcome for outcome, _ in judged(trust, *entries)[1]] == ["accepted", "unusable", "unusable"]
    assert [outcome for outcome, _ in judged(trust, *entries, ledger="elsewhere")[1]] == ["unusable"] * 3


def test_a_key_that_was_replaced_counts_for_what_it_had_said(tmp_path: Path) -> None:
    trust = trusting(tmp_path, rule("ann", ANN, until={"ledger": TOPIC, "offset": 1}))
    entries = [signed(announcement("m", version), ANN) for version in (1, 2)]
    assert [outcome for outcome, _ in judged(trust, *entries)[1]] == ["accepted", "unusable"]
    elsewhere = signed(announcement("m", 1), ANN, audience="new")
    assert judged(trust, elsewhere, ledger="new")[1][0][0] == "unusable", "a topic that begins at 0 again"


def test_a_statement_of_a_kind_to_come_needs_a_key_that_may_do_everything(tmp_path: Path) -> None:
    unknown = record(ledger_pb2.Statement(model="m"))
    some = trusting(tmp_path, rule("ann", ANN, may=["publish"]))
    assert "ann may not say such a thing" in only(some, signed(unknown, ANN))[1]


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()), st.integers(1, 2), st.integers(1, 2))
def test_no_two_statements_are_signed_alike(
    one: tuple[str, bytes], other: tuple[str, bytes], schema: int, second: int
) -> None:
    same = (one, schema) == (other, second)
    assert (signed_bytes(schema, *one) == signed_bytes(second, *other)) == same


def test_a_topic_and_a_statement_cannot_lend_each_other_bytes() -> None:
    assert signed_bytes(1, "topic", b"-1statement") != signed_bytes(1, "topic-1", b"statement")
