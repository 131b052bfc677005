"""Peers that speak HTTP/1.1, loaded by h2load over connections that stay open, a request at a time on each."""

import http.client
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import Answer, Figures, Pace, PeerError
from benchmarks.ranker import K
from serving.loadtest.latencies import Latencies
from serving.loadtest.outcome import percentiles

JSON, BINARY = "application/json", "application/octet-stream"
_TIMEOUT_S = 10.0
_OK = 200
_RATE = re.compile(r"finished in .*?, ([0-9.]+) req/s")
_FAILED = re.compile(r"(\d+) failed, (\d+) errored, (\d+) timeout")


@dataclass(frozen=True, slots=True)
class HttpCaller:
    """`encode` makes the body of a row, `decode` reads the body of an answer."""

    path: str
    content_type: str
    encode: Callable[[NDArray[np.float32]], bytes]
    decode: Callable[[bytes], Answer]
    protocol: ClassVar[str] = "HTTP"

    def ask(self, port: int, row: NDArray[np.float32]) -> Answer:
        """Ask once."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", self.path, self.encode(row), {"content-type": self.content_type})
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        if reply.status != _OK:
            raise PeerError(f"HTTP {reply.status}: {body[:200].decode(errors='replace')}")
        try:
            return self.decode(body)
        except (ValueError, KeyError, TypeError) as error:
            raise PeerError(f"wrong answer: {body[:100]!r} ({error})") from None

    def load(self, port: int, row: NDArray[np.float32], expected: Answer, pace: Pace) -> Figures:
        """HTTP/1.1 has no streams: a connection for each request that runs. Status codes are all it looks at."""
        del expected
        if shutil.which("h2load") is None:
            raise PeerError("h2load is missing: apt-get install nghttp2-client")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "body").write_bytes(self.encode(row))
            done = subprocess.run(
                ["h2load", "--h1", "-t", "1", "-c", str(pace.running), "-m", "1",  # noqa: S607 - on the path
                 "-D", str(round(pace.seconds)), "--warm-up-time", str(round(pace.warm_s)), "-d", folder / "body",
                 "-H", f"content-type: {self.content_type}", "--log-file", folder / "log",
                 f"http://127.0.0.1:{port}{self.path}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            log = (folder / "log").read_text() if (folder / "log").exists() else ""
        return figures(done.stdout, log)


def figures(printed: str, log: str) -> Figures:
    """Read what h2load says of a run; PeerError when a request failed.

    log: lines of start, HTTP status, and microseconds.
    """
    rate, failed = _RATE.search(printed), _FAILED.search(printed)
    rows = [line.split("\t") for line in log.splitlines()]
    if rate is None or failed is None:
        raise PeerError(f"h2load: {printed.strip()[-200:] or 'said nothing'}")
    if not rows:
        raise PeerError("no request was answered while it was timed")
    bad = sum(map(int, failed.groups())) + sum(row[1] != str(_OK) for row in rows)
    if bad:
        raise PeerError(f"{bad} requests failed under load")
    took = np.array([int(row[2]) for row in rows], np.int64)
    found = percentiles(Latencies.of(took * 1000).histogram())
    return Figures(float(rate[1]), found["p50"], found["p99"])


def json_body(row: NDArray[np.float32]) -> bytes:
    """The row as JSON: `{"x": [[64 numbers]]}`."""
    return json.dumps({"x": row.tolist()}, separators=(",", ":")).encode()


def json_answer(body: bytes) -> Answer:
    """The answer as JSON: `{"items": [[20 numbers]], "scores": [[20 numbers]]}`."""
    read = json.loads(body)
    return Answer(np.array(read["items"][0], np.int64), np.array(read["scores"][0], np.float32))


def binary_body(row: NDArray[np.float32]) -> bytes:
    """The row's 64 FP32."""
    return row.tobytes()


def binary_answer(body: bytes) -> Answer:
    """20 INT64, then 20 FP32."""
    return Answer(np.frombuffer(body, np.int64, K), np.frombuffer(body, np.float32, K, offset=8 * K))
