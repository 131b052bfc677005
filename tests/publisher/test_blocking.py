"""Saying what must not be shown."""

import time

import pytest

from protos.ledger import MAX_STATEMENT_BYTES
from publisher.blocking import block, blocked, lift
from publisher.ledger import Ledger
from serving.bus.embedded.bus import EmbeddedBus
from serving.errors import InvalidRequestError, UserError
from tests.builders.buses import TOPICS
from tests.builders.ledger import announcement
from tests.builders.ledger import blocking as entry


@pytest.fixture
def model(bus: EmbeddedBus) -> str:
    bus.append_many(TOPICS.models.name, [announcement("m", 1)])
    return "m"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_items_are_blocked_and_lifted(ledger: Ledger, model: str) -> None:
    later = now_ms() + 60_000
    block(ledger, model, ["a", "b"])
    block(ledger, model, ["b", "c"], until_ms=later, reason="recalled")
    assert blocked(ledger, model) == {"a": 0, "b": later, "c": later}
    assert lift(ledger, model, ["a", "c"]).blocked == {"b": later}


def test_a_list_too_long_for_one_record_is_said_in_several(ledger: Ledger, bus: EmbeddedBus, model: str) -> None:
    items = [f"{n:0250d}" for n in range(6_000)]
    assert len(items) * 250 > MAX_STATEMENT_BYTES
    assert list(block(ledger, model, items).blocked) == items
    assert bus.end_offsets(TOPICS.models.name)[0] > 2


def test_what_is_over_is_not_listed_and_goes_with_the_next_command(
    ledger: Ledger, bus: EmbeddedBus, model: str
) -> None:
    bus.append_many(TOPICS.models.name, [entry(model, old=1, kept=0)])
    assert blocked(ledger, model) == {"kept": 0}
    assert block(ledger, model, ["new"]).blocked == {"kept": 0, "new": 0}


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "items: expected at least one, got none"),
        ([""], "items: expected 1 to 256 bytes of printable UTF-8, got ''"),
        (["x" * 257], "items: expected 1 to 256 bytes"),
        (["a\nb"], "items: expected 1 to 256 bytes of printable UTF-8, got 'a\\nb'"),
    ],
)
def test_what_can_be_no_item_is_said(ledger: Ledger, model: str, items: list[str], words: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        block(ledger, model, items)
    assert words in str(error.value)


def test_a_time_that_is_over_is_refused(ledger: Ledger, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="until: expected a time to come"):
        block(ledger, model, ["a"], until_ms=now_ms() - 5_000)


def test_what_is_not_blocked_can_not_be_lifted(ledger: Ledger, model: str) -> None:
    with pytest.raises(InvalidRequestError, match="items: expected one that is blocked for m, got 'a'"):
        lift(ledger, model, ["a"])


def test_a_model_that_nobody_announced_is_said(ledger: Ledger, model: str) -> None:
    with pytest.raises(UserError, match=f"expected an announced one \\({model}\\), got 'n'"):
        block(ledger, "n", ["a"])
