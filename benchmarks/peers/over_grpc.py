"""Peers that speak the Open Inference Protocol v2 over gRPC, loaded by the generator of `nearline bench`."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.answers import compare
from benchmarks.peers.peer import Answer, Figures, Pace, PeerError
from benchmarks.ranker import INPUT
from protos.inference import inference_pb2 as pb
from serving.loadtest.fleet import run
from serving.loadtest.inferring import INFER, encode_infer
from serving.loadtest.outcome import percentiles
from serving.loadtest.plan import Closed, Plan

RIGHT, WRONG = "RIGHT", "WRONG"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class GrpcCaller:
    """Asks for the model of that name."""

    model: str = "ranker"
    protocol: ClassVar[str] = "gRPC"

    def ask(self, port: int, row: NDArray[np.float32]) -> Answer:
        """Ask once."""
        with grpc.insecure_channel(_target(port)) as channel:
            try:
                reply: bytes = channel.unary_unary(INFER)(self._request(row), timeout=_TIMEOUT_S)
            except grpc.RpcError as error:
                raise PeerError(f"{error.code().name}: {error.details()}") from None
        return decode(reply)

    def load(self, port: int, row: NDArray[np.float32], expected: Answer, pace: Pace) -> Figures:
        """Look at every answer, too."""
        plan = Plan(
            target=_target(port),
            path=INFER,
            requests=[self._request(row)],
            read=partial(verdict, expected),
            pacing=Closed(pace.running),
            duration_s=pace.seconds,
            warm_s=pace.warm_s,
            connections=pace.connections,
        )
        outcome = run(plan)
        if outcome.failed:
            raise PeerError(f"{outcome.failed} requests failed under load: {dict(outcome.errors)} {outcome.messages}")
        if WRONG in outcome.kinds:
            raise PeerError(f"{outcome.latencies(WRONG).count} wrong answers under load")
        found = percentiles(outcome.latencies().histogram())
        return Figures(outcome.achieved, found["p50"], found["p99"])

    def _request(self, row: NDArray[np.float32]) -> bytes:
        return encode_infer(self.model, {INPUT: ("FP32", row)})


def verdict(expected: Answer, message: bytes) -> str:
    """Whether an answer has the items that are expected: cheap where they are raw, as most servers answer."""
    if expected.items.tobytes() in message:
        return RIGHT
    try:
        compare(decode(message), expected)
    except PeerError:
        return WRONG
    return RIGHT


def decode(message: bytes) -> Answer:
    """Read an answer with raw or typed contents; PeerError where an output is missing."""
    reply = pb.ModelInferResponse.FromString(message)
    raw = dict(zip((output.name for output in reply.outputs), reply.raw_output_contents, strict=False))
    typed = {output.name: output.contents for output in reply.outputs}
    if not {"items", "scores"} <= typed.keys():
        raise PeerError(f"wrong answer: outputs {sorted(typed)}, expected items and scores")
    if raw:
        return Answer(np.frombuffer(raw["items"], np.int64), np.frombuffer(raw["scores"], np.float32))
    items, scores = typed["items"].int64_contents, typed["scores"].fp32_contents
    return Answer(np.array(items, np.int64), np.array(scores, np.float32))


def _target(port: int) -> str:
    return f"127.0.0.1:{port}"
