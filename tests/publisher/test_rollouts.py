"""Rollouts as changes of a record: one line at a time, whole records, next epochs."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.digest import bundle_digest
from protos.records import MILLION, ModelRecord
from protos.traffic import shares_for
from publisher import rollouts
from publisher.announce import Announceable, announce
from publisher.ledger import Ledger
from serving.bus.embedded.bus import EmbeddedBus
from serving.errors import InvalidRequestError, UserError
from tests.builders.buses import TOPICS
from tests.builders.ledger import announcement as said
from tests.builders.ledger import files, model_record

EVERYWHERE: dict[str, str] = {}
EU, US = {"region": "eu"}, {"region": "us"}


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    """Versions 1, 2 and 3 of m."""
    for version in (1, 2, 3):
        listed = files(f"v{version}")
        announce(ledger, Announceable("m", bundle_digest(listed), "file:///a", listed))
    return ledger


def serves(record: ModelRecord, labels: dict[str, str] | None = None) -> dict[int, float]:
    return {share.version: share.weight_ppm / MILLION for share in shares_for(record, labels or {})}


def test_a_pin_overrides_the_newest_and_what_is_announced_later(three: Ledger) -> None:
    assert serves(rollouts.pin(three, "m", 1, EVERYWHERE)) == {1: 1}
    listed = files("v4")
    announce(three, Announceable("m", bundle_digest(listed), "file:///a", listed))
    assert serves(three.read().models["m"]) == {1: 1}


def test_what_is_left_of_a_share_stays_with_what_serves(three: Ledger) -> None:
    rollouts.pin(three, "m", 1, EVERYWHERE)
    assert serves(rollouts.share(three, "m", {3: 100_000}, EVERYWHERE)) == {3: 0.1, 1: 0.9}
    assert serves(rollouts.share(three, "m", {3: 500_000}, EVERYWHERE)) == {3: 0.5, 1: 0.5}
    assert serves(rollouts.share(three, "m", {3: MILLION}, EVERYWHERE)) == {3: 1}


def test_a_share_of_what_serves_alone_leaves_the_rest_to_the_next_newest(three: Ledger) -> None:
    assert serves(rollouts.share(three, "m", {3: 100_000}, EVERYWHERE)) == {3: 0.1, 2: 0.9}


def test_a_share_keeps_its_place_so_that_widening_moves_nobody_away(three: Ledger) -> None:
    record = rollouts.share(three, "m", {2: 100_000, 1: 200_000}, EVERYWHERE)
    assert [share.version for share in record.lines[0].shares] == [2, 1, 3]


@given(st.dictionaries(st.integers(1, 5), st.integers(1, MILLION), min_size=1, max_size=4))
def test_shares_sum_to_the_whole_or_are_refused(weights: dict[int, int]) -> None:
    record = model_record(*(said("m", version) for version in range(1, 6)))
    total = sum(weights.values())
    if total > MILLION:
        with pytest.raises(InvalidRequestError, match=r"^shares: expected more than 0 %, and 100 % at most together"):
            rollouts.share(None, "m", weights, EVERYWHERE)  # type: ignore[arg-type]  # refused before it is asked
        return
    if total < MILLION:
        base = rollouts._base(record, "m", EVERYWHERE, weights)
        assert base == max(set(range(1, 6)) - set(weights)), "the newest that is not named"


@pytest.mark.parametrize("weights", [{}, {1: 0}, {1: -5}, {1: MILLION, 2: 1}])
def test_shares_below_nothing_or_above_the_whole_are_refused(three: Ledger, weights: dict[int, int]) -> None:
    with pytest.raises(InvalidRequestError, match=r"^shares: expected more than 0 %, and 100 % at most together, got "):
        rollouts.share(three, "m", weights, EVERYWHERE)


def test_a_share_of_the_only_version_needs_another_for_the_rest(ledger: Ledger) -> None:
    announce(ledger, Announceable("m", bundle_digest(files("a")), "file:///a", files("a")))
    with pytest.raises(UserError, match="name versions for 100 %"):
        rollouts.share(ledger, "m", {1: 100_000}, EVERYWHERE)


def test_a_scope_changes_its_own_line_and_keeps_the_others(three: Ledger) -> None:
    rollouts.pin(three, "m", 2, EVERYWHERE)
    rollouts.pin(three, "m", 1, EU)
    record = rollouts.share(three, "m", {3: 100_000}, US)
    assert (serves(record), serves(record, EU), serves(record, US)) == ({2: 1}, {1: 1}, {3: 0.1, 2: 0.9})
    assert record.epoch == 3


def test_unpinning_a_scope_leaves_the_others_and_unpinning_all_leaves_none(three: Ledger) -> None:
    rollouts.pin(three, "m", 2, EVERYWHERE)
    rollouts.pin(three, "m", 1, EU)
    assert serves(rollouts.unpin(three, "m", EU), EU) == {2: 1}
    rollouts.pin(three, "m", 1, EU)
    record = rollouts.unpin(three, "m", None)
    assert (record.lines, serves(record, EU), serves(record)) == ((), {3: 1}, {3: 1})


def test_a_rollback_pins_the_newest_lower_version_that_has_been_ready(three: Ledger) -> None:
    digests = {v: known.digest for v, known in three.read().models["m"].versions.items()}
    assert serves(rollouts.rollback(three, "m", {digests[1], digests[3]}, EVERYWHERE)) == {1: 1}
    rollouts.unpin(three, "m", None)
    assert serves(rollouts.rollback(three, "m", {digests[1], digests[2]}, EVERYWHERE)) == {2: 1}
    assert serves(rollouts.rollback(three, "m", {digests[1], digests[2]}, EVERYWHERE)) == {1: 1}, "and again"


def test_a_rollback_passes_over_retired_versions(three: Ledger) -> None:
    rollouts.retire(three, "m", 2)
    digests = {known.digest for known in three.read().models["m"].versions.values()}
    assert serves(rollouts.rollback(three, "m", digests, EVERYWHERE)) == {1: 1}


@pytest.fixture
def held(ledger: Ledger) -> Ledger:
    """Versions 1 to 3 of m, each held."""
    for version in (1, 2, 3):
        listed = files(f"v{version}")
        announce(ledger, Announceable("m", bundle_digest(listed), "file:///a", listed, held=True))
    return ledger


def test_a_rollback_passes_over_a_held_version_that_was_never_rolled_out(ledger: Ledger) -> None:
    for version in (1, 2, 3):
        listed = files(f"v{version}")
        announce(ledger, Announceable("m", bundle_digest(listed), "file:///a", listed, held=version == 2))
    digests = {known.digest for known in ledger.read().models["m"].versions.values()}
    assert serves(rollouts.rollback(ledger, "m", digests, EVERYWHERE)) == {1: 1}


def test_a_rollback_goes_to_a_held_version_that_was_rolled_out(held: Ledger) -> None:
    for version in (1, 3):
        rollouts.pin(held, "m", version, EVERYWHERE)
    digests = {known.digest for known in held.read().models["m"].versions.values()}
    assert serves(rollouts.rollback(held, "m", digests, EVERYWHERE)) == {1: 1}


def test_where_every_version_is_held_unpinning_leaves_the_newest_that_was_rolled_out(held: Ledger) -> None:
    for version in (1, 2):
        rollouts.pin(held, "m", version, EVERYWHERE)
    assert serves(rollouts.unpin(held, "m", None)) == {2: 1}


def test_a_rollback_of_a_scope_starts_at_what_serves_there(three: Ledger) -> None:
    rollouts.pin(three, "m", 2, EU)
    digests = {known.digest for known in three.read().models["m"].versions.values()}
    record = rollouts.rollback(three, "m", digests, EU)
    assert (serves(record, EU), serves(record)) == ({1: 1}, {3: 1})


def test_a_rollback_without_a_proven_version_says_how_to_pin_one(three: Ledger) -> None:
    with pytest.raises(UserError, match=r"below 3 that has been READY, got none \(announced: 1, 2\).*--version N"):
        rollouts.rollback(three, "m", set(), EVERYWHERE)
    assert three.read().models["m"].epoch == 0


def test_a_retired_version_can_not_be_rolled_out(three: Ledger) -> None:
    rollouts.retire(three, "m", 2)
    with pytest.raises(
        InvalidRequestError, match=r"^version: expected one of m's that is not retired, got 2, which is$"
    ):
        rollouts.pin(three, "m", 2, EVERYWHERE)
    with pytest.raises(InvalidRequestError, match="not retired"):
        rollouts.retire(three, "m", 2)


def test_a_line_of_another_scope_that_names_a_retired_version_is_in_nobodys_way(three: Ledger) -> None:
    rollouts.pin(three, "m", 1, EU)
    rollouts.share(three, "m", {2: 100_000, 1: 900_000}, US)
    rollouts.retire(three, "m", 1)
    record = rollouts.pin(three, "m", 3, EVERYWHERE)
    assert (serves(record), serves(record, EU), serves(record, US)) == ({3: 1}, {3: 1}, {2: 1})


def test_an_unknown_version_or_model_is_refused_with_the_known_ones(three: Ledger) -> None:
    with pytest.raises(InvalidRequestError, match=r"^version: expected one of m's \(1, 2, 3\), got 9$"):
        rollouts.pin(three, "m", 9, EVERYWHERE)
    with pytest.raises(UserError, match=r"^model: expected an announced one \(m\), got 'nope'$"):
        rollouts.pin(three, "nope", 1, EVERYWHERE)


def test_each_retry_has_an_epoch_of_its_own_and_is_of_the_newest_by_default(three: Ledger) -> None:
    assert rollouts.retry(three, "m", None).verdict.version == 3
    rollouts.retry(three, "m", 3)
    rollouts.retry(three, "m", 1)
    assert three.read().models["m"].retrials == {3: 2, 1: 1}
    for wrong in (0, 9):
        with pytest.raises(InvalidRequestError, match=r"^version: expected one of m's"):
            rollouts.retry(three, "m", wrong)


def test_two_who_roll_out_at_once_are_both_heard_and_neither_undoes_the_others_scope(
    three: Ledger, tmp_path: Path
) -> None:
    def roll_out(region: str) -> list[int]:
        bus = EmbeddedBus(tmp_path / "bus")
        try:
            ledger = Ledger(bus, TOPICS)
            return [rollouts.pin(ledger, "m", version, {"region": region}).epoch for version in (1, 2, 3)]
        finally:
            bus.close()

    with ThreadPoolExecutor(2) as pool:
        epochs = [epoch for found in pool.map(roll_out, ("eu", "us")) for epoch in found]
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6]
    lines = three.read().models["m"].lines
    assert {line.scope["region"]: line.shares[0].version for line in lines} == {"eu": 3, "us": 3}
