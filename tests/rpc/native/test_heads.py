"""What differs from call to call means the same, whether it is known on sight or read field by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from serving.rpc.http2.literals import block
from serving.rpc.native.head import Head
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.routes import routes
from serving.rpc.native.varied import Varied
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import Stage

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BASE = [
    (b":method", b"POST", False), (b":scheme", b"http", False), (b":path", b"/t.T/Now", False),
    (b"content-type", b"application/grpc", False),
]  # fmt: skip
timeouts = st.from_regex(rb"[0-9]{0,9}[HMSmunx]?", fullmatch=True)
traces = st.just(TRACE) | st.from_regex(rb"0?[0-9a-f]-[0-9a-f]{31,32}-[0-9a-fA-F]{16}-0[01]", fullmatch=True)
fields = st.tuples(st.just(b"grpc-timeout"), timeouts) | st.tuples(st.just(b"traceparent"), traces)


def reader() -> tuple[HeadReader, Head]:
    made = HeadReader(routes(Stage().methods(), Metrics(CollectorRegistry())), "ipv4:127.0.0.1:1", None)
    return made, made.read(BASE)


@given(st.lists(fields, max_size=3))
def test_what_is_known_on_sight_says_what_its_fields_say(more: list[tuple[bytes, bytes]]) -> None:
    heads, base = reader()
    if not heads.usual(block(more)):
        return
    known, read = heads.extend(base, block(more)), heads.refine(base, [(n, v, False) for n, v in more])
    assert isinstance(known, Varied)
    assert isinstance(read, Varied)
    assert known.quick is read.quick is base.quick
    assert known.timeout == read.timeout
    one, other = known.whole(), read.whole()
    assert one.refusal is other.refusal is None
    assert (one.timeout, one.traces, one.call) == (other.timeout, other.traces, other.call)


@pytest.mark.parametrize(
    ("more", "known"),
    [
        ([], True),
        ([(b"grpc-timeout", b"1S")], True),
        ([(b"grpc-timeout", b"12345678n")], True),
        ([(b"traceparent", TRACE)], True),
        ([(b"grpc-timeout", b"1S"), (b"traceparent", TRACE)], True),
        ([(b"traceparent", TRACE), (b"grpc-timeout", b"1S")], True),
        ([(b"grpc-timeout", b"0S")], False),
        ([(b"grpc-timeout", b"123456789n")], False),
        ([(b"grpc-timeout", b"1S"), (b"grpc-timeout", b"2S")], False),
        ([(b"traceparent", TRACE[:-1])], False),
        ([(b"traceparent", TRACE + b"0")], False),
        ([(b"tracestate", TRACE)], False),
        ([(b"traceparent", TRACE.replace(b"-", b"\n"))], False),
    ],
)
def test_what_most_clients_add_is_known_on_sight(more: list[tuple[bytes, bytes]], *, known: bool) -> None:
    heads, _ = reader()
    assert bool(heads.usual(block(more))) is known
