"""The audit trail of a model."""

from pathlib import Path

import pytest

from protos.judging import Outcome
from protos.records import MILLION
from publisher.history import SignatureState, Told, read_history
from serving.bus.embedded.bus import EmbeddedBus
from tests.builders.buses import TOPICS
from tests.builders.ledger import announcement, blocking, bulk_load, bulk_shown, retirement, retrial, rollout
from tests.builders.trust import ANN, BOB, EVE, rule, signed, trusting

LEDGER = TOPICS.models.name
A, R, L, U = Outcome.ACCEPTED, Outcome.REPEATED, Outcome.LOST, Outcome.UNUSABLE
VALID, UNSIGNED, REFUSED, UNCHECKED = SignatureState


def test_every_record_of_a_model_is_told_with_who_signed_it_and_what_became_of_it(
    tmp_path: Path, bus: EmbeddedBus
) -> None:
    trust = trusting(tmp_path, rule("ann", ANN), rule("bob", BOB, "other"))
    topic = bus.identity(LEDGER)
    entries = [
        announcement("m", 1, content="forged"),
        signed(announcement("m", 1), ANN, audience=topic),
        signed(announcement("other", 1), BOB, audience=topic),
        signed(announcement("m", 2), BOB, audience=topic),
        signed(rollout("m", 1, {1: MILLION}), ANN, audience=topic),
        signed(rollout("m", 1, {1: 500_000}), ANN, audience=topic),
        (b"m", b"\xff"),
        signed(announcement("m", 2), EVE, audience="staging"),
    ]
    bus.append_many(LEDGER, entries)
    found = read_history(bus, TOPICS, trust, "m")
    assert (found.ledger, found.end) == (topic, len(entries))
    assert [(told.offset, told.action, told.outcome, told.signature, told.signer) for told in found.told] == [
        (0, "publish", U, REFUSED, ""),
        (1, "publish", A, VALID, "ann"),
        (3, "publish", U, REFUSED, BOB.public.id[:16]),
        (4, "rollout", A, VALID, "ann"),
        (5, "rollout", L, VALID, "ann"),
        (6, "unreadable", U, REFUSED, ""),
        (7, "publish", U, REFUSED, EVE.public.id[:16]),
    ]
    assert "bob may not speak for m" in found.told[2].message
    assert all(told.appended_ms for told in found.told)


def test_where_nobody_is_trusted_signatures_are_told_unchecked(bus: EmbeddedBus) -> None:
    bus.append_many(LEDGER, [announcement("m", 1), signed(announcement("m", 2), EVE)])
    told = read_history(bus, TOPICS, None, "m").told
    assert [(one.signature, one.signer) for one in told] == [(UNSIGNED, ""), (UNCHECKED, EVE.public.id[:16])]
    assert {one.outcome for one in told} == {A}


@pytest.fixture
def told(bus: EmbeddedBus) -> dict[str, Told]:
    entries = [
        announcement("m", 1),
        announcement("m", 2, held=True),
        rollout("m", 1, {1: 900_000, 2: 100_000}, {2: MILLION}, scopes=[{"region": "eu"}, {}]),
        rollout("m", 2),
        retrial("m", 1, 3),
        blocking("m", "gone", a=0, b=0),
        bulk_load("m", 1, rows=7),
        bulk_shown("m", 1, 1),
        bulk_shown("m", 2, 0),
        retirement("m", 1),
    ]
    bus.append_many(LEDGER, entries)
    return {one.what: one for one in read_history(bus, TOPICS, None, "m").told}


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("publish", "version 1, bundle "),
        ("publish", ", held"),
        ("rollout", "epoch 1: version 1 90 %, version 2 10 % region=eu; version 2 100 % everywhere"),
        ("rollout", "epoch 2: the newest version everywhere"),
        ("retry", "version 1, epoch 3"),
        ("block", "hide a, b; show again gone"),
        ("load", "load 1 of version 1, 7 predictions"),
        ("load", "epoch 1: show load 1"),
        ("load", "epoch 2: show no load"),
        ("retire", "version 1"),
    ],
)
def test_each_kind_is_told_in_words(told: dict[str, Told], action: str, what: str) -> None:
    assert any(one.action == action and what in text for text, one in told.items()), list(told)
