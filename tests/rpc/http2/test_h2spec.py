"""h2spec: every case of RFC 9113's predecessor and of HPACK, against a real socket."""

import re
from collections.abc import Callable

import pytest

from serving.rpc.http2.hpack import Decoder, PythonDecoder, RustDecoder
from serving.rpc.native import exchange
from tests.rpc.interop.service import METHODS
from tests.rpc.tools import against, output, tool

LENIENT = {"Sends a Huffman-encoded string literal representation padded by zero"}
"""What the decoder in Rust lets through: harmless, and dearer to check than to decode (http2/hpack.py)."""


@pytest.mark.parametrize(("decoder", "excluded"), [(RustDecoder, LENIENT), (PythonDecoder, set())])
@pytest.mark.parametrize("suite", ["generic", "http2", "hpack"])
def test_h2spec_is_content(
    suite: str,
    decoder: Callable[[int, int], Decoder],
    excluded: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    h2spec = tool("h2spec")
    monkeypatch.setattr(exchange, "_make_decoder", decoder)

    async def scene(port: int) -> None:
        _, said = await output(h2spec, "-h", "127.0.0.1", "-p", str(port), "-o", "10", "--strict", suite)
        failed = set(re.findall(r"\N{MULTIPLICATION SIGN} \d+: (.*)", said))
        assert re.search(r"\d+ tests, \d+ passed, 0 skipped", said), said
        assert failed <= excluded, said

    against(METHODS, scene)
