"""A peer with wrong answers is never timed."""

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.peers.answers import Expected, compare
from benchmarks.peers.measure import Durations, measure, model_file
from benchmarks.peers.over_grpc import RIGHT, WRONG, decode, verdict
from benchmarks.peers.over_http import BINARY, HttpCaller, binary_answer, binary_body, figures
from benchmarks.peers.peer import Answer, Peer, PeerError, Started
from protos.inference import inference_pb2 as pb

ANSWER = Answer(np.arange(20, dtype=np.int64), np.linspace(9, 1, 20, dtype=np.float32))
SWAPPED = Answer(ANSWER.items[::-1].copy(), ANSWER.scores)
PRINTED = """finished in 2.00s, 1234.50 req/s, 1.00MB/s
requests: 2469 total, 2469 started, 2469 done, 2469 succeeded, {} failed, 0 errored, 0 timeout
"""


def reply(answer: Answer, *, raw: bool) -> bytes:
    made = pb.ModelInferResponse(model_name="ranker")
    scores, items = made.outputs.add(name="scores"), made.outputs.add(name="items")
    if raw:
        made.raw_output_contents.extend((answer.scores.tobytes(), answer.items.tobytes()))
    else:
        scores.contents.fp32_contents.extend(answer.scores.tolist())
        items.contents.int64_contents.extend(answer.items.tolist())
    return made.SerializeToString()


@pytest.mark.parametrize("raw", [True, False])
def test_an_answer_over_grpc_is_right_or_wrong_by_its_items(raw: bool) -> None:
    compare(decode(reply(ANSWER, raw=raw)), ANSWER)
    assert verdict(ANSWER, reply(ANSWER, raw=raw)) == RIGHT
    assert verdict(ANSWER, reply(SWAPPED, raw=raw)) == WRONG


def test_an_answer_without_an_output_is_wrong() -> None:
    assert verdict(ANSWER, pb.ModelInferResponse(model_name="ranker").SerializeToString()) == WRONG


@pytest.mark.parametrize(
    "wrong",
    [
        SWAPPED,
        Answer(ANSWER.items, ANSWER.scores * np.float32(1.01)),
        Answer(ANSWER.items[:19], ANSWER.scores[:19]),
        Answer(ANSWER.items, ANSWER.scores[:1]),
    ],
    ids=["other items", "other scores", "too few", "one score"],
)
def test_a_wrong_answer_is_refused(wrong: Answer) -> None:
    with pytest.raises(PeerError, match="wrong answer"):
        compare(wrong, ANSWER)


def test_scores_may_differ_by_rounding() -> None:
    compare(Answer(ANSWER.items, ANSWER.scores * np.float32(1 + 1e-6)), ANSWER)


def test_what_h2load_says_is_read_with_latencies_in_milliseconds() -> None:
    found = figures(PRINTED.format(0), "1\t200\t1000\n2\t200\t1000\n3\t200\t4000\n")
    assert found.per_s == 1234.5
    assert found.p50_ms == pytest.approx(1.0, rel=0.01)
    assert found.p99_ms == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize(
    ("printed", "log"),
    [(PRINTED.format(3), "1\t200\t10\n"), (PRINTED.format(0), "1\t503\t10\n"), ("connection refused", "")],
    ids=["failed", "HTTP 503", "no figures"],
)
def test_a_load_with_a_failure_gives_no_figures(printed: str, log: str) -> None:
    with pytest.raises(PeerError):
        figures(printed, log)


class _Wrong(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ANSWER.items.tobytes() + ANSWER.scores.tobytes())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serve(_model: Path, _folder: Path, _options: Mapping[str, Any]) -> Iterator[Started]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Wrong) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Started(server.server_address[1], lambda: [psutil.Process()])
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_answers_wrongly_is_reported_and_not_timed() -> None:
    caller = HttpCaller("/", BINARY, binary_body, binary_answer)
    peer = Peer("wrong", "wrong", _serve, caller, {"plain": {}}, dict)
    with model_file() as model:
        (found,) = measure(peer, model, Expected(model), Durations(0.1, 0.0))
    assert found.reason.startswith("wrong answer: items")
    assert not found.loads
