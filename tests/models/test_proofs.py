"""What a node has had READY."""

from pathlib import Path

import pytest

from serving.models.proofs import Proofs


def test_nothing_is_proven_at_first(tmp_path: Path) -> None:
    assert Proofs(tmp_path / "proofs").ready_at_ms("d") == 0


def test_the_first_time_stays_for_siblings_and_later_processes(tmp_path: Path) -> None:
    proofs, sibling = Proofs(tmp_path), Proofs(tmp_path)
    assert sibling.ready_at_ms("d") == 0
    proofs.record("d", 10)
    sibling.record("d", 20)
    assert [p.ready_at_ms("d") for p in (proofs, sibling, Proofs(tmp_path))] == [10, 10, 10]
    assert Proofs(tmp_path).ready_at_ms("e") == 0


@pytest.mark.parametrize("text", ["", "x", "-5", "\0"])
def test_a_damaged_proof_is_none_until_it_is_ready_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.ready").write_text(text)
    assert Proofs(tmp_path).ready_at_ms("d") == 0
    Proofs(tmp_path).record("d", 7)
    assert Proofs(tmp_path).ready_at_ms("d") == 7


def test_without_a_place_to_write_it_holds_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    proofs = Proofs(tmp_path / "file")
    proofs.record("d", 7)
    assert proofs.ready_at_ms("d") == 7
