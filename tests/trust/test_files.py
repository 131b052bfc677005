"""The file that says whom to trust."""

from pathlib import Path

import pytest
import yaml

from serving.errors import InvalidRequestError
from serving.trust.files import read_trust
from tests.builders.trust import ANN, BOB, rule, trust_file, trusting


def test_without_the_setting_nobody_is_asked_for() -> None:
    assert read_trust(None) is None


def test_a_file_says_who_may_do_what(tmp_path: Path) -> None:
    until = {"ledger": "id", "offset": 7}
    trust = trusting(
        tmp_path,
        rule("ann", ANN, "shop-*", may=["publish", "load"]),
        rule("bob", BOB, until=until),
        ledgers=[{"id": "old", "unsigned_below": 3}],
    )
    ann, bob = trust.keys[ANN.public.id], trust.keys[BOB.public.id]
    assert (ann.name, ann.models, ann.may, ann.until) == ("ann", ("shop-*",), frozenset({"publish", "load"}), None)
    assert (bob.models, bob.may, bob.until) == (("*",), frozenset(), ("id", 7))
    assert trust.ledgers == {"old": 3}


def test_a_public_key_may_be_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ann.pub").write_bytes(ANN.public.pem)
    assert set(trusting(tmp_path, {"name": "ann", "public_key": "ann.pub", "models": ["*"]}).keys) == {ANN.public.id}


def test_a_folder_is_all_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"keys": [rule("ann", ANN)]}))
    (tmp_path / "b.yml").write_text(yaml.safe_dump({"keys": [rule("bob", BOB)]}))
    (tmp_path / "README").write_text("not: [read")
    found = read_trust(tmp_path)
    assert found
    assert set(found.keys) == {ANN.public.id, BOB.public.id}


def test_what_changes_a_verdict_changes_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    variants = [
        [rule("ann", ANN), rule("bob", BOB)],
        [rule("ann", ANN)],
        [rule("ann", ANN, "m"), rule("bob", BOB)],
        [rule("ann", ANN, may=["publish"]), rule("bob", BOB)],
        [rule("ann", ANN, until={"ledger": "x", "offset": 1}), rule("bob", BOB)],
    ]
    digests = [trusting(tmp_path, *rules).digest for rules in variants]
    digests.append(trusting(tmp_path, *variants[0], ledgers=[{"id": "x"}]).digest)
    assert len(set(digests)) == len(variants) + 1
    assert trusting(tmp_path, rule("robert", BOB), rule("anna", ANN)).digest == digests[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "expected at least one key, got none in"),
        ({"keys": [{"name": "a"}]}, "trust.yaml: keys.0.public_key: expected Field required"),
        ({"keys": [rule("ann", ANN) | {"models": []}]}, "keys.0.models"),
        ({"keys": [rule("ann", ANN, may=["fly"])]}, "keys.0.may.0: expected 'publish', 'rollout'"),
        ({"keys": [rule("ann", ANN, colour="red")]}, "keys.0.colour"),
        ({"keys": [rule("ann", ANN), rule("bob", ANN)]}, "each name and each key once, got ann and bob"),
        ({"keys": [rule("ann", ANN), rule("ann", BOB)]}, "each name and each key once"),
        ({"keys": [rule("ann", ANN) | {"public_key": "gone.pub"}]}, "PEM or a file of it, got gone.pub: No such file"),
        ({"keys": [rule("ann", ANN)], "ledgers": [{"id": "x"}, {"id": "x"}]}, "each id once"),
    ],
)
def test_a_file_that_says_something_else_is_refused_in_one_line(
    tmp_path: Path, said: dict[str, object], words: str
) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text(yaml.safe_dump(said))
    with pytest.raises(InvalidRequestError) as caught:
        read_trust(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["keys: [", "just words", "- a list"])
def test_a_file_that_is_none_of_it_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match="NEARLINE_TRUSTED_KEYS"):
        read_trust(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="No such file"):
        read_trust(tmp_path / "none.yaml")


def test_the_order_in_the_file_does_not_matter(tmp_path: Path) -> None:
    one = read_trust(trust_file(tmp_path, rule("ann", ANN), rule("bob", BOB)))
    assert one == read_trust(trust_file(tmp_path, rule("bob", BOB), rule("ann", ANN)))
