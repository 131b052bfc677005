"""One contract for both HPACK decoders, and for what is remembered of header blocks."""

import re
from collections.abc import Sequence
from enum import Enum, auto

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rpc.http2 import literals
from serving.rpc.http2.blocks import HeaderBlocks, leaves_table
from serving.rpc.http2.codes import ConnectionFault, ErrorCode
from serving.rpc.http2.fields import MalformedError
from serving.rpc.http2.hpack import Field, MakeDecoder, PythonDecoder, RustDecoder, table_size
from serving.rpc.http2.literals import block, pattern

TABLE, MOST = 4096, 16_384
NAMES = st.sampled_from([b":path", b":method", b"te", b"x-a", b"grpc-timeout", b"traceparent", b"cookie"])
VALUES = st.binary(max_size=200) | st.sampled_from([b"POST", b"/a/b", b"trailers", b"1"])
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12)
REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B")]


@pytest.fixture(params=[RustDecoder, PythonDecoder])
def make(request: pytest.FixtureRequest) -> MakeDecoder:
    found: MakeDecoder = request.param
    return found


def pairs(fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value, _ in fields]


@pytest.mark.parametrize("kind", [RustDecoder, PythonDecoder])
@given(blocks=st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 100, 4096])), max_size=6))
def test_what_an_encoder_says_comes_back_whatever_became_of_the_table(
    kind: MakeDecoder, blocks: list[tuple[list[tuple[bytes, bytes, bool]], int | None]]
) -> None:
    encoder, decoder = hpack.Encoder(), kind(TABLE, MOST)
    for fields, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert pairs(decoder.decode(encoder.encode(fields))) == [(name, value) for name, value, _ in fields]


@given(FIELDS)
def test_our_own_blocks_are_read_without_a_table(fields: list[tuple[bytes, bytes, bool]]) -> None:
    said = [(name, value) for name, value, _ in fields]
    assert pairs(PythonDecoder(TABLE, MOST).decode(block(said))) == said


@pytest.mark.parametrize(
    "data",
    [b"\x80", b"\xbe", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x40", b"\x40\x03a", b"\x82\x3f\x45",
     b"\x3f\xe2\x1f", b"\x00\x85\xf2\xb2", b"\x00\x01a\x84\xff\xff\xff\xff", b"\x3f\xff\xff\xff\xff\xff\xff\xff\x7f"],
)  # fmt: skip
def test_a_block_that_is_wrong_ends_the_connection(make: MakeDecoder, data: bytes) -> None:
    with pytest.raises(ConnectionFault) as caught:
        make(TABLE, MOST).decode(data)
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_a_list_that_is_too_large_is_not_built(make: MakeDecoder) -> None:
    decoder = make(TABLE, MOST)
    bomb = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 2000  # one field of 4 KB, two thousand times
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(bomb)
    assert (caught.value.code, caught.value.limit) == (ErrorCode.ENHANCE_YOUR_CALM, "header_list_bytes")


@given(st.binary(max_size=40))
def test_the_decoder_in_rust_accepts_and_reads_all_that_the_other_does(data: bytes) -> None:
    try:
        expected = PythonDecoder(TABLE, MOST).decode(data)
    except ConnectionFault:
        expected = None
    try:
        found = RustDecoder(TABLE, MOST).decode(data)
    except ConnectionFault:
        assert expected is None
        return
    # It lets wrong padding through, and a size within a block that is the table's already: see its docstring.
    assert expected is None or pairs(found) == pairs(expected)


@given(st.binary(max_size=12))
def test_the_size_at_the_start_of_a_block_is_read_as_a_decoder_does(data: bytes) -> None:
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 1 << 62
    before = decoder.header_table_size
    try:
        decoder.decode(data, raw=True)
    except hpack.HPACKError:
        return
    assert (table_size(data) if table_size(data) is not None else before) == decoder.header_table_size


class Seen:
    """Counts what it is asked."""

    varying = frozenset((b"grpc-timeout",))
    usual = re.compile(pattern(b"grpc-timeout", [(1, b"[0-9]"), (2, b"[0-9]{2}")])).fullmatch

    def __init__(self) -> None:
        self.read_: list[list[tuple[bytes, bytes]]] = []

    def read(self, fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
        self.read_.append(pairs(fields))
        return pairs(fields)

    def refine(self, head: list[tuple[bytes, bytes]], fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
        return head + pairs(fields)

    def extend(self, head: list[tuple[bytes, bytes]], end: bytes) -> list[tuple[bytes, bytes]]:
        return head + pairs(literals.fields(end))


def test_what_is_repeated_is_read_once(make: MakeDecoder) -> None:
    seen, encoder = Seen(), hpack.Encoder()
    blocks = HeaderBlocks(make(TABLE, MOST), seen)
    for _ in range(5):
        assert blocks.request(encoder.encode(REQUEST)) == (REQUEST, -1)
    for number in range(5):
        timeout = (b"grpc-timeout", b"%dm" % number)
        assert blocks.request(encoder.encode([*REQUEST, timeout])) == ([*REQUEST, timeout], -1)
    assert len(seen.read_) == 1


@pytest.mark.parametrize(("size", "times"), [(100, 1), (3_000, 5)])
def test_large_headers_are_read_each_time(make: MakeDecoder, size: int, times: int) -> None:
    seen, encoder = Seen(), hpack.Encoder()
    blocks, sent = HeaderBlocks(make(TABLE, MOST), seen), [*REQUEST, (b"x-large", b"x" * size)]
    for _ in range(5):
        assert blocks.request(encoder.encode(sent)) == (sent, -1)
    assert len(seen.read_) == times


@pytest.mark.parametrize(("one", "times"), [(0, 90), (20, 90), (300, 30)])
def test_a_connection_remembers_little_whatever_comes(make: MakeDecoder, one: int, times: int) -> None:
    blocks, encoder = HeaderBlocks(make(TABLE, MOST), Seen()), hpack.Encoder()
    repeated = (b"x", b"y" * one)
    for number in range(200):
        # Some bytes each, which name the same field of the table again and again.
        sent = [*REQUEST, *[repeated] * (number % times + 1)]
        for _ in range(3):
            assert blocks.request(encoder.encode(sent)) == (sent, -1)
    heads = [*blocks._heads, *(tuple(head) for head, _ in blocks.known.values()), tuple(blocks._last)]
    assert 0 < len(heads) <= 2 * 64 + 1
    assert max(sum(len(field[0]) + len(field[1]) + 32 for field in head) for head in heads) <= 2_048
    assert all(len(block) <= 2_048 for block in blocks.known)


@pytest.mark.parametrize("kind", [RustDecoder, PythonDecoder])
@given(
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"grpc-timeout"]), st.sampled_from([b"1", b"2"])), max_size=30)
)
def test_what_is_remembered_is_what_would_be_read(kind: MakeDecoder, more: list[tuple[bytes, bytes]]) -> None:
    blocks, encoder = HeaderBlocks(kind(70, MOST), Seen()), hpack.Encoder()
    encoder.header_table_size = 70  # two fields: every other request evicts
    for field in more:
        found, _ = blocks.request(encoder.encode([*REQUEST, field]))
        assert found == [*REQUEST, field]


class Way(Enum):
    """How an encoder writes a field."""

    INDEXED = auto()
    LITERAL = auto()
    NEVER_INDEXED = auto()
    PLAIN = auto()


def written(encoder: hpack.Encoder, field: tuple[bytes, bytes], way: Way) -> bytes:
    """Write a field; literally, with its name, unless it is indexed."""
    if way is Way.INDEXED:
        return bytes(encoder.encode([field]))
    if way is Way.NEVER_INDEXED:
        return bytes(hpack.Encoder().encode([(*field, True)]))
    if way is Way.LITERAL:  # RFC 7541 §6.2.2: as never indexed ones, with another first byte
        return b"\0" + bytes(hpack.Encoder().encode([(*field, True)]))[1:]
    return b"\0" + b"".join(bytes([len(part)]) + part for part in field)


fields = st.tuples(
    st.sampled_from([b"grpc-timeout", b"x-a"]), st.sampled_from([b"1", b"22", b"x" * 126]), st.sampled_from(Way)
)


@pytest.mark.parametrize("kind", [RustDecoder, PythonDecoder])
@given(st.lists(st.lists(fields, max_size=3), max_size=20))
def test_however_a_field_is_written_it_is_read_as_without_a_memory(
    kind: MakeDecoder, requests: list[list[tuple[bytes, bytes, Way]]]
) -> None:
    blocks, encoder, plain = HeaderBlocks(kind(TABLE, MOST), Seen()), hpack.Encoder(), PythonDecoder(TABLE, MOST)
    for more in requests:
        data = bytes(encoder.encode(REQUEST)) + b"".join(written(encoder, (n, v), way) for n, v, way in more)
        found, _ = blocks.request(data)
        expected = pairs(plain.decode(data))
        # What varies may be moved behind what does not; among each other, both keep their order.
        assert found == sorted(expected, key=lambda field: field[0] == b"grpc-timeout")


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (b"", True),
        (b"\0\1a\1b", True),
        (b"\x10\1a\1b\0\1c\0", True),
        (b"\0\x7ea" + b"a" * 125 + b"\x7e" + b"b" * 126, True),
        (b"\0\x7f\0" + b"a" * 127 + b"\1b", False),
        (b"\0\1a\x7f\0" + b"b" * 127, False),
        (b"\x40\1a\1b", False),
        (b"\x0f\2\1b", False),
        (b"\x01\1b", False),
        (b"\x82", False),
        (b"\x20", False),
        (b"\0", False),
        (b"\0\1", False),
        (b"\0\1a", False),
        (b"\0\1a\2b", False),
        (b"\0\1a\1b\0\1", False),
        (b"\0\1a\1b" * 200, False),
    ],
    ids=repr,
)
def test_an_end_leaves_the_table_as_it_is_if_it_is_short_literals_with_names_that_are_not_indexed(
    block: bytes, *, left: bool
) -> None:
    assert leaves_table(block) is left


@given(st.lists(st.tuples(st.binary(max_size=126), st.binary(max_size=126)), max_size=5))
def test_fields_come_back_as_they_were_written(written: list[tuple[bytes, bytes]]) -> None:
    assert pairs(literals.fields(block(written))) == written


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        (b"7", b"7", True),
        (b"7", b"70", True),
        (b"7", b"8", False),
        (b"7", b"701", False),
        (b"x" * 55, b"7", False),
    ],
)
def test_a_field_is_known_by_its_name_the_length_of_its_value_and_what_it_is(
    name: bytes, value: bytes, *, known: bool
) -> None:
    found = re.compile(pattern(b"7", [(1, b"[7]"), (2, b"7[0-9]")])).fullmatch(block([(name, value)]))
    assert (found is not None) is known


BAD = [
    [*REQUEST, (b"X-Upper", b"1")],
    [*REQUEST, (b"", b"1")],
    [*REQUEST, (b"a b", b"1")],
    [*REQUEST, (b"a", b" 1")],
    [*REQUEST, (b"a", b"1\t")],
    [*REQUEST, (b"a", b"1\r\nb: 2")],
    [*REQUEST, (b"grpc-timeout", b"1\0")],
    [*REQUEST, (b"connection", b"close")],
    [*REQUEST, (b"transfer-encoding", b"chunked")],
    [*REQUEST, (b"te", b"gzip")],
    [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")],
    [*REQUEST, (b"content-length", b"-1")],
    [*REQUEST, REQUEST[0]],
    [*REQUEST, (b":status", b"200")],
    [*REQUEST, (b":protocol", b"websocket")],
    [*REQUEST[:2], (b":path", b"")],
    REQUEST[:2],
    REQUEST[1:],
    [REQUEST[0], (b"a", b"1"), *REQUEST[1:]],
    [REQUEST[0], (b"grpc-timeout", b"1S"), *REQUEST[1:]],
    [(b"grpc-timeout", b"1S"), *REQUEST],
]


@pytest.mark.parametrize("fields", BAD, ids=repr)
def test_fields_that_no_request_may_have_are_malformed(fields: list[tuple[bytes, bytes]]) -> None:
    blocks = HeaderBlocks(PythonDecoder(TABLE, MOST), Seen())
    assert blocks.request(block(REQUEST)) == (REQUEST, -1)  # remembered, which must not help the next
    for _ in range(2):
        with pytest.raises(MalformedError):
            blocks.request(block(fields))
    with pytest.raises(MalformedError):
        blocks.trailers(block(fields))
