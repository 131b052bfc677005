"""What becomes of each kind of record."""

import pytest

from protos.digest import FileEntry, bundle_digest
from protos.judging import MAX_FILES, Outcome
from protos.ledger import MAX_STATEMENT_BYTES, SCHEMA, World
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.records import Share
from tests.builders.ledger import Entry, announcement, files, folded, record, retirement, retrial, rollout

HALF = 500_000
ALL = 1_000_000


def test_an_announcement_is_accepted_with_all_that_it_says() -> None:
    world, (verdict,) = folded(announcement("m", 3, content="x", held=True, uri="s3://b/x"))
    assert (verdict.outcome, verdict.model, verdict.version) == (Outcome.ACCEPTED, "m", 3)
    known = world.models["m"].versions[3]
    assert (known.digest, known.uri, known.files) == (bundle_digest(files("x")), "s3://b/x", files("x"))
    assert (known.held, known.offset) == (True, 0)


def test_the_same_announcement_again_changes_nothing() -> None:
    world, verdicts = folded(announcement("m", 1), announcement("m", 1, uri="s3://elsewhere"))
    assert [v.outcome for v in verdicts] == [Outcome.ACCEPTED, Outcome.REPEATED]
    assert world.models["m"].versions[1].uri == "file:///bundles"


def test_another_digest_for_a_known_version_is_a_conflict_that_names_both() -> None:
    world, (first, second) = folded(announcement("m", 1, content="a"), announcement("m", 1, content="b"))
    assert first.outcome is Outcome.ACCEPTED
    assert (second.outcome, second.kind, second.version) == (Outcome.UNUSABLE, status_pb2.CONFLICT, 1)
    assert bundle_digest(files("a")) in second.message
    assert bundle_digest(files("b")) in second.message
    assert world.models["m"].versions[1].digest == bundle_digest(files("a"))


def test_versions_of_models_are_apart_and_may_come_out_of_order() -> None:
    world, verdicts = folded(announcement("a", 5), announcement("b", 1), announcement("a", 4))
    assert {v.outcome for v in verdicts} == {Outcome.ACCEPTED}
    assert {name: sorted(m.versions) for name, m in world.models.items()} == {"a": [4, 5], "b": [1]}


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        (announcement("m", 0), status_pb2.UNDECODABLE, "version: expected a positive"),
        (announcement("m", 1 << 63), status_pb2.UNDECODABLE, "version: expected a positive"),
        (announcement("m", 1, digest="ff"), status_pb2.UNDECODABLE, "digest: expected 64"),
        (announcement("m", 1, digest="0" * 64), status_pb2.DIGEST, "digest: expected"),
        (announcement("m", 1, entries=[]), status_pb2.POLICY, f"files: expected 1 to {MAX_FILES}, got 0"),
        (announcement("Bad", 1), status_pb2.UNDECODABLE, "model name: expected"),
        (announcement("", 1), status_pb2.UNDECODABLE, "model name: expected"),
        (record(ledger_pb2.Statement(model="m")), status_pb2.UNDECODABLE, "expected one of the known kinds"),
        ((b"other", announcement("m", 1)[1]), status_pb2.POLICY, "key: expected the model's name 'm'"),
        ((b"m", b""), status_pb2.UNDECODABLE, f"schema: expected {SCHEMA}, got 0"),
        ((b"m", b"\xff" * 9), status_pb2.UNDECODABLE, "record: expected a LedgerEntry"),
        ((b"m", b"x" * (MAX_STATEMENT_BYTES + 1)), status_pb2.UNDECODABLE, "record: expected 1 to"),
        ((b"m", ledger_pb2.LedgerEntry(schema=2).SerializeToString()), status_pb2.UNDECODABLE, "schema: expected 1"),
        (retirement("m", 7), status_pb2.POLICY, "version: expected an announced one, got 7"),
        (retrial("m", 7), status_pb2.POLICY, "version: expected an announced one, got 7"),
        (rollout("m", 1, {7: ALL}), status_pb2.POLICY, "version: expected an announced one, got 7"),
    ],
)
def test_an_unusable_record_says_why_and_changes_nothing(entry: Entry, kind: int, words: str) -> None:
    world, (verdict,) = folded(entry)
    assert (verdict.outcome, verdict.kind) == (Outcome.UNUSABLE, kind)
    assert words in verdict.message
    assert (world.models, world.position) == ({}, 1)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../x", "a//b", "./a", "a\\b", "", "a\0b", "a\nb", "a/", "\x7f"]
)
def test_only_plain_relative_paths_may_be_announced(path: str) -> None:
    _, (verdict,) = folded(announcement("m", 1, entries=[FileEntry(path, "0" * 64, 1)]))
    assert (verdict.outcome, verdict.kind) == (Outcome.UNUSABLE, status_pb2.POLICY)
    assert "path: expected a plain relative path" in verdict.message


def test_a_path_may_be_announced_once_in_a_bundle() -> None:
    twice = [FileEntry("a", "0" * 64, 1), FileEntry("a", "1" * 64, 1)]
    _, (verdict,) = folded(announcement("m", 1, entries=twice))
    assert (verdict.outcome, verdict.kind) == (Outcome.UNUSABLE, status_pb2.POLICY)


def test_too_many_files_are_refused() -> None:
    many = [FileEntry(str(i), "0" * 64, 1) for i in range(MAX_FILES + 1)]
    assert folded(announcement("m", 1, entries=many))[1][0].kind == status_pb2.POLICY


def test_a_tombstone_is_unusable() -> None:
    assert World().apply(4, b"m", None).kind == status_pb2.UNDECODABLE


def test_the_first_rollout_of_an_epoch_wins_and_smaller_epochs_are_lost() -> None:
    both = announcement("m", 1), announcement("m", 2)
    world, verdicts = folded(*both, rollout("m", 3, {1: ALL}), rollout("m", 3, {2: ALL}), rollout("m", 2, {2: ALL}))
    assert [v.outcome for v in verdicts[2:]] == [Outcome.ACCEPTED, Outcome.LOST, Outcome.LOST]
    assert verdicts[3].message == "epoch: expected more than 3, got 3"
    assert world.models["m"].lines[0].shares == (Share(1, ALL),)


def test_the_same_rollout_again_changes_nothing() -> None:
    said = rollout("m", 1, {1: ALL})
    assert folded(announcement(), said, said)[1][2].outcome is Outcome.REPEATED


def test_a_rollout_of_epoch_0_is_lost() -> None:
    assert folded(announcement(), rollout("m", 0, {1: ALL}))[1][1].outcome is Outcome.LOST


@pytest.mark.parametrize("weights", [{1: ALL - 1}, {1: HALF}, {1: ALL, 2: 1}, {}])
def test_weights_that_are_not_the_whole_are_refused(weights: dict[int, int]) -> None:
    verdict = folded(announcement("m", 1), announcement("m", 2), rollout("m", 1, weights))[1][2]
    assert (verdict.outcome, verdict.kind) == (Outcome.UNUSABLE, status_pb2.POLICY)
    assert f"expected a sum of {ALL}" in verdict.message


def test_a_rollout_that_expects_another_digest_is_refused() -> None:
    verdict = folded(announcement(), rollout("m", 1, {1: ALL}, digests={1: "0" * 64}))[1][1]
    assert (verdict.outcome, verdict.kind) == (Outcome.UNUSABLE, status_pb2.DIGEST)


def test_a_retired_version_cannot_be_rolled_out_and_stays_retired() -> None:
    world, verdicts = folded(announcement(), retirement(), retirement(), rollout("m", 1, {1: ALL}), announcement())
    outcomes = [v.outcome for v in verdicts[1:]]
    assert outcomes == [Outcome.ACCEPTED, Outcome.REPEATED, Outcome.UNUSABLE, Outcome.REPEATED]
    assert world.models["m"].retired == {1}


def test_the_largest_epoch_of_a_retrial_holds() -> None:
    world, verdicts = folded(announcement(), retrial("m", 1, 2), retrial("m", 1, 1), retrial("m", 1, 2))
    assert [v.outcome for v in verdicts[1:]] == [Outcome.ACCEPTED, Outcome.LOST, Outcome.LOST]
    assert world.models["m"].retrials == {1: 2}


def test_unknown_fields_of_a_newer_release_are_ignored() -> None:
    key, value = announcement()
    unknown = b"\xa2\x06\x03new"  # field 100, length-delimited
    assert World().apply(0, key, value + unknown).outcome is Outcome.ACCEPTED


def test_a_snapshot_does_not_change_with_later_records() -> None:
    world, _ = folded(announcement("m", 1))
    before = world.models["m"].snapshot()
    for offset, entry in enumerate((announcement("m", 2), retirement("m", 1), retrial("m", 1, 1)), 1):
        world.apply(offset, *entry)
    assert (set(before.versions), before.retired, before.retrials) == ({1}, set(), {})
