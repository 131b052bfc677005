"""Commands to the owner of an entity's shard."""

import re

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.commands import MAX_COMMAND_BYTES, Command, Erase, InvalidCommandError, Recompute, decode_command
from protos.names import MAX_ENTITY_BYTES, MODEL_NAME

ENTITIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64).map(str.encode)
MODELS = st.from_regex(MODEL_NAME, fullmatch=True)
COMMANDS = st.builds(Erase, ENTITIES) | st.builds(Recompute, ENTITIES, MODELS, st.integers(1, (1 << 63) - 1))


@given(COMMANDS)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    key, value = command.encode()
    assert key == command.entity, "the key decides the partition, as it does for events"
    assert len(value) <= MAX_COMMAND_BYTES
    assert decode_command(key, value) == command


def test_fields_of_a_newer_release_are_ignored() -> None:
    assert decode_command(b"ann", msgpack.packb({"kind": "erase", "why": "asked"})) == Erase(b"ann")


GOOD = {"kind": "recompute", "model": "shop", "version": 7}


@pytest.mark.parametrize(
    ("key", "said", "message"),
    [
        (b"ann", {"kind": "explode"}, "kind: expected `recompute` or `erase`, got 'explode'"),
        (b"ann", {}, "kind: expected `recompute` or `erase`, got None"),
        (b"ann", {"kind": ["erase"]}, "kind: expected `recompute` or `erase`, got ['erase']"),
        (b"ann", [1], "command: expected a map, got [1]"),
        (b"ann", GOOD | {"model": "No"}, "model: expected a model's name, got 'No'"),
        (b"ann", GOOD | {"model": None}, "model: expected a model's name, got None"),
        (b"ann", GOOD | {"version": 0}, "version: expected a positive integer below 2**63, got 0"),
        (b"ann", GOOD | {"version": True}, "version: expected a positive integer below 2**63, got True"),
        (b"ann", GOOD | {"version": "7"}, "version: expected a positive integer below 2**63, got '7'"),
        (None, GOOD, "key: expected an entity id, 1 to 256 bytes of UTF-8, got None"),
        (b"", GOOD, "key: expected an entity id, 1 to 256 bytes of UTF-8, got b''"),
        (b"\xff", GOOD, "key: expected an entity id, 1 to 256 bytes of UTF-8, got b'\\xff'"),
        (b"a" * (MAX_ENTITY_BYTES + 1), GOOD, "key: expected an entity id, 1 to 256 bytes of UTF-8, got b'aaa"),
    ],
)
def test_what_is_no_command_is_refused_with_field_expected_and_actual(
    key: bytes | None, said: object, message: str
) -> None:
    with pytest.raises(InvalidCommandError, match=re.escape(message)) as refused:
        decode_command(key, msgpack.packb(said))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [None, b"", b"\xc1", b"\x81", b"\x91" * 2000, b"a" * (MAX_COMMAND_BYTES + 1)])
def test_bytes_that_are_no_command_are_refused(value: bytes | None) -> None:
    with pytest.raises(InvalidCommandError, match="command: expected "):
        decode_command(b"ann", value)


@given(st.binary(max_size=8), st.binary(max_size=40))
def test_no_bytes_do_anything_worse_than_that(key: bytes, value: bytes) -> None:
    try:
        decode_command(key, value)
    except InvalidCommandError:
        return
