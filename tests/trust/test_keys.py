"""Key pairs in files."""

import stat
from pathlib import Path

import pytest

from serving.errors import InvalidRequestError, UserError
from serving.trust.keys import create_keys, read_public_keys, read_signing_keys
from tests.builders.trust import ANN, BOB


def test_a_pair_is_read_as_it_was_made_and_its_secret_half_is_for_its_owner_only(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys", "ci")
    private = tmp_path / "keys" / "ci.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    read = read_signing_keys(private)
    assert read.public.id == made.id == read_public_keys((tmp_path / "keys" / "ci.pub").read_bytes(), "file").id
    assert made.verify(read.sign(b"data"), b"data")
    assert not made.verify(read.sign(b"data"), b"other")
    assert not made.verify(b"", b"data")


def test_every_pair_has_a_fingerprint_of_its_own_over_both_keys() -> None:
    mixed = ANN.public.pem.split(b"-----END PUBLIC KEY-----\n")[0] + b"-----END PUBLIC KEY-----\n"
    mixed += BOB.public.bundles_pem
    assert len({ANN.public.id, BOB.public.id, read_public_keys(mixed, "file").id}) == 3


def test_an_encrypted_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    made = create_keys(tmp_path, "ci", "open sesame")
    path = tmp_path / "ci.key"
    assert b"ENCRYPTED" in path.read_bytes()
    assert read_signing_keys(path, "open sesame").public.id == made.id
    with pytest.raises(UserError, match="is encrypted; give its passphrase in NEARLINE_SIGNING_PASSPHRASE"):
        read_signing_keys(path)
    with pytest.raises(UserError, match="that passphrase does not open it"):
        read_signing_keys(path, "open barley")


def test_a_passphrase_that_is_not_needed_does_no_harm(tmp_path: Path) -> None:
    made = create_keys(tmp_path, "ci")
    assert read_signing_keys(tmp_path / "ci.key", "for another").public.id == made.id


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_keys(tmp_path, "ci")
    before = (tmp_path / "ci.key").read_bytes()
    with pytest.raises(UserError, match="expected a new name, got 'ci'"):
        create_keys(tmp_path, "ci")
    assert (tmp_path / "ci.key").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing", ANN.public.pem, ANN.bundles_pem])
def test_a_file_without_a_pair_of_private_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"signing key: expected a file of `nearline keys new`"):
        read_signing_keys(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"signing key: .*none\.key: No such file"):
        read_signing_keys(tmp_path / "none.key")


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "got 0 keys"),
        (ANN.public.bundles_pem, "got 1 keys"),
        (ANN.public.bundles_pem * 2, "got others"),
        (ANN.bundles_pem, "private ones: keep them secret"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "public keys in PEM"),
    ],
)
def test_what_is_no_pair_of_public_keys_is_refused(pem: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^here: expected") as caught:
        read_public_keys(pem, "here")
    assert words in str(caught.value)
