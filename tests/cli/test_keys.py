"""`nearline keys`: making and listing them."""

from pathlib import Path

import pytest

from serving.cli.errors import USAGE
from tests.builders.trust import ANN, rule, trust_file
from tests.cli.program import Program


def test_a_key_is_made_and_listed(program: Program) -> None:
    made = program.ask("keys", "new", "ci")
    assert Path(made["private"]).exists()
    assert Path(made["public"]) == program.settings.data_dir / "keys" / "ci.pub"
    listed = program.ask("keys", "list")
    assert [(key["name"], key["fingerprint"], key["private"]) for key in listed["keys"]] == [
        ("ci", made["fingerprint"], made["private"])
    ]
    assert (listed["trusted"], listed["accepts_unsigned"]) == ([], True)
    shown = program("keys", "list").out
    assert made["fingerprint"] in shown
    assert "unsigned statements are accepted" in shown


def test_what_to_do_with_it_is_said(program: Program, tmp_path: Path) -> None:
    out = program("keys", "new", "ci", "--folder", str(tmp_path / "mine")).out
    assert f"NEARLINE_SIGNING_KEY={tmp_path / 'mine' / 'ci.key'}" in out
    assert "hand out" in out


def test_trusted_keys_are_listed_with_what_they_may_do(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARLINE_TRUSTED_KEYS", str(trust_file(tmp_path, rule("ann", ANN, "shop-*", may=["publish"]))))
    (trusted,) = program.ask("keys", "list")["trusted"]
    assert trusted == {
        "name": "ann",
        "fingerprint": ANN.public.id,
        "models": ["shop-*"],
        "may": ["publish"],
        "until": None,
    }
    shown = program("keys", "list").out
    assert ("shop-*" in shown, ANN.public.id in shown, "no key in" in shown) == (True, True, True)


def test_a_passphrase_comes_from_a_variable_or_a_person(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_SIGNING_PASSPHRASE", "open sesame")
    made = program.ask("keys", "new", "ci", "--passphrase")
    assert "ENCRYPTED" in Path(made["private"]).read_text()
    assert "ENCRYPTED" not in Path(program.ask("keys", "new", "other")["private"]).read_text()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x"])
def test_a_name_that_is_no_name_is_refused(program: Program, name: str) -> None:
    assert program("keys", "new", "--", name).code == USAGE


def test_a_second_key_of_a_name_is_refused(program: Program) -> None:
    program.ask("keys", "new", "ci")
    assert "expected a new name, got 'ci'" in program("keys", "new", "ci").error
