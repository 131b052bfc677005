"""Trusted keys that change while a node runs."""

import errno
import os
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from serving.errors import InvalidRequestError
from serving.trust.keyring import Keyring
from tests.builders.trust import ANN, BOB, rule, trust_file


def names(keyring: Keyring) -> set[str]:
    """Look twice: what changed counts once it has stood still."""
    keyring.look()
    trust = keyring.look()
    assert trust is not None
    assert trust is keyring.trust
    return {key.name for key in trust.keys.values()}


def test_a_key_that_is_added_or_taken_away_is_seen(tmp_path: Path) -> None:
    keyring = Keyring(trust_file(tmp_path, rule("ann", ANN)))
    assert names(keyring) == {"ann"}
    trust_file(tmp_path, rule("ann", ANN), rule("bob", BOB))
    assert names(keyring) == {"ann", "bob"}
    trust_file(tmp_path, rule("bob", BOB))
    assert names(keyring) == {"bob"}


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = trust_file(tmp_path, rule("ann", ANN), rule("bob", BOB))
    keyring = Keyring(path)
    whole = path.read_bytes()
    trust_file(tmp_path, rule("ann", ANN))  # a list of keys that is cut is a list of keys
    trust = keyring.look()
    assert trust is not None
    assert len(trust.keys) == 2
    path.write_bytes(whole)
    assert names(keyring) == {"ann", "bob"}


@pytest.mark.parametrize("text", ["keys: [", "keys: []", "keys: [{name: ann}]", ""])
def test_a_file_that_cannot_be_used_leaves_the_former_keys_and_is_told_once(tmp_path: Path, text: str) -> None:
    refused: list[int] = []
    path = trust_file(tmp_path, rule("ann", ANN))
    keyring = Keyring(path, lambda: refused.append(1))
    path.write_text(text)
    with capture_logs() as said:
        assert names(keyring) == names(keyring) == {"ann"}
    assert [(line["event"], line["log_level"]) for line in said] == [("trust.refused", "error")]
    assert "NEARLINE_TRUSTED_KEYS" in said[0]["error"]
    assert refused == [1]
    trust_file(tmp_path, rule("bob", BOB))
    assert names(keyring) == {"bob"}


def test_a_file_that_is_gone_leaves_the_former_keys(tmp_path: Path) -> None:
    path = trust_file(tmp_path, rule("ann", ANN))
    keyring = Keyring(path)
    path.unlink()
    assert names(keyring) == {"ann"}


def test_a_public_key_that_comes_after_the_file_that_names_it_is_seen(tmp_path: Path) -> None:
    keyring = Keyring(trust_file(tmp_path, rule("ann", ANN)))
    trust_file(tmp_path, rule("ann", ANN), {"name": "bob", "public_key": "bob.pub", "models": ["*"]})
    assert names(keyring) == {"ann"}
    (tmp_path / "bob.pub").write_bytes(BOB.public.pem)
    assert names(keyring) == {"ann", "bob"}


def test_a_public_key_file_that_is_replaced_is_seen(tmp_path: Path) -> None:
    (tmp_path / "team.pub").write_bytes(ANN.public.pem)
    keyring = Keyring(trust_file(tmp_path, {"name": "team", "public_key": "team.pub", "models": ["*"]}))
    (tmp_path / "new").write_bytes(BOB.public.pem)
    (tmp_path / "new").rename(tmp_path / "team.pub")
    assert names(keyring) == {"team"}
    assert keyring.trust is not None
    assert set(keyring.trust.keys) == {BOB.public.id}


def test_another_file_of_a_folder_counts_too(tmp_path: Path) -> None:
    trust_file(tmp_path, rule("ann", ANN))
    keyring = Keyring(tmp_path)
    (tmp_path / "more.yml").write_text(yaml.safe_dump({"keys": [rule("bob", BOB)]}))
    assert names(keyring) == {"ann", "bob"}
    (tmp_path / "more.yml").unlink()
    assert names(keyring) == {"ann"}


def test_files_that_are_as_they_were_are_not_read_again(tmp_path: Path) -> None:
    path = trust_file(tmp_path, rule("ann", ANN))
    keyring = Keyring(path)
    first = keyring.trust
    assert keyring.look() is keyring.look() is first
    os.utime(path)
    with capture_logs() as said:
        names(keyring)
        names(keyring)
    assert [line["event"] for line in said] == ["trust.reloaded"]


def test_who_trusts_everybody_looks_at_nothing() -> None:
    assert Keyring(None).look() is None


def test_what_cannot_be_used_to_begin_with_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError):
        Keyring(tmp_path / "none.yaml")


@pytest.mark.parametrize("way", ["is_dir", "open"])
def test_a_disk_that_fails_leaves_the_former_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    refused: list[int] = []
    path = trust_file(tmp_path, rule("ann", ANN))
    keyring = Keyring(path, lambda: refused.append(1))
    trust_file(tmp_path, rule("bob", BOB))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken, capture_logs():
        broken.setattr(Path, way, fail)
        assert names(keyring) == ({"ann"} if way == "open" else {"bob"})
    assert len(refused) == (way == "open")


def test_yaml_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 100_000)
    with pytest.raises(InvalidRequestError, match="expected YAML"):
        Keyring(path)
