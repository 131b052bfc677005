"""What calls say in their headers, the same on each and fresh on each."""

from typing import Any

import hpack
import pytest

from serving.loadtest.heads import heads, less_time
from tests.loadtest.loads import plan


def said(count: int, table: int, **more: object) -> list[dict[str, str]]:
    """Decode the blocks of so many calls of a connection, in order."""
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = table
    blocks = heads(plan(target="host:1", **more), table)
    return [{str(k): str(v) for k, v in decoder.decode(next(blocks))} for _ in range(count)]


@pytest.mark.parametrize("table", [0, 4096])
def test_every_call_says_the_same_to_a_decoder(table: int) -> None:
    first, *others = said(5, table, metadata={"long": "x" * 5_000, "short": "y"}, path="/s/M")
    assert all(other == first for other in others)
    assert {":path": "/s/M", "long": "x" * 5_000, "short": "y", "grpc-timeout": "5000m"}.items() <= first.items()


@pytest.mark.parametrize("table", [0, 4096])
def test_fresh_traces_are_valid_and_never_the_same(table: int) -> None:
    traces = [call["traceparent"].split("-") for call in said(10_000, table, traceparent=True)]
    assert {(version, len(trace), len(span), flags) for version, trace, span, flags in traces} == {("00", 32, 16, "01")}
    assert len({trace for _, trace, _, _ in traces}) == len({span for _, _, span, _ in traces}) == 10_000


@pytest.mark.parametrize(("timeout_s", "unit"), [(5.0, 1e6), (3600.0, 1e3)])
def test_fresh_deadlines_differ_and_are_a_little_shorter_than_the_time_out(timeout_s: float, unit: float) -> None:
    calls = said(1_000, 4096, deadline="fresh", timeout_s=timeout_s)
    names = {call["grpc-timeout"][-1] for call in calls}
    assert names == {"u" if unit == 1e6 else "m"}
    deadlines = [int(call["grpc-timeout"][:-1]) / unit for call in calls]
    assert all(0.949 * timeout_s < deadline <= timeout_s for deadline in deadlines)
    assert len(set(deadlines)) > 900
    assert all(len(call["grpc-timeout"]) <= 9 for call in calls)


def test_calls_need_have_no_deadline() -> None:
    assert "grpc-timeout" not in said(1, 4096, deadline="none")[0]


@pytest.mark.parametrize(
    "more", [{}, {"metadata": {"a": "b", "c": "d"}}, {"metadata": {"long": "x" * 5_000, "a": "b"}}]
)
@pytest.mark.parametrize("table", [0, 4096])
def test_a_call_that_has_less_time_says_so_and_else_the_same(table: int, more: dict[str, object]) -> None:
    made = plan(target="host:1", **more)
    decoder, blocks, less = hpack.Decoder(), heads(made, table), less_time(made, table)
    decoder.max_allowed_table_size = table
    first: dict[Any, Any] = dict(decoder.decode(next(blocks)))
    for left_ms in (1, 700, 4999):
        assert dict(decoder.decode(less(left_ms))) == first | {"grpc-timeout": f"{left_ms}m"}
        assert dict(decoder.decode(next(blocks))) == first, "no table knows of it"
