"""P1: cached `Recommend` through the real server, against grpc.aio as a server of the same bytes. P2: over TLS.

    python -m benchmarks.rpc_hits [--seconds S] [--rounds N] [--tls]

A node (one serving worker, transport `native`, its own bus and store) on one core, the generator (rpc_load.py) on the
other. Both servers are measured in turns, with 16 and 1 calls running on each of 4 connections, and with a deadline and
a traceparent that vary with every call.
"""

import argparse
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import trustme

from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.rpc_load import Load, run
from benchmarks.shop import items, model
from protos.nearline.v1 import recommender_pb2 as pb
from publisher.api import publish
from serving.bus.connect import connect_bus
from serving.recipes.event import encode_event
from serving.settings import Settings

PATH = "/nearline.v1.Recommender/Recommend"
ENTITIES = 2_000
CASES = {"m=16": (16, False, 40.0), "m=1": (1, False, 10.0), "m=16, varying": (16, True, 20.0)}
TLS_CASES = {"m=16": (16, False, 30.0), "m=1": (1, False, 4.0)}
_PATIENCE_S = 60.0
Server = tuple[int, psutil.Process]
"""Where it listens, and the process."""


@dataclass(slots=True)
class Side:
    """A server, and what was measured of it. A busy machine spoils its CPU time per request less than its rate."""

    port: int
    process: psutil.Process
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def measure(self, load: Load, seconds: float) -> None:
        """One round."""
        before = sum(self.process.cpu_times()[:2])
        rate, counts = run(load, seconds)
        if counts.failed:
            raise SystemExit(f"{counts.failed} calls failed")
        self.rates.append(rate)
        self.cpu_us.append((sum(self.process.cpu_times()[:2]) - before) * 1e6 / counts.answered)


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true", help="both sides over TLS")
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": folder, "workers": 1, "nearline_workers": 1})
        publish("shop", model(), items=items(), settings=settings)
        authority = trustme.CA() if asked.tls else None
        more: dict[str, Any] = {}
        files = [Path(folder) / "answer"]
        if authority is not None:
            issued = authority.issue_cert("localhost")
            files += [Path(folder) / "key.pem", Path(folder) / "certificate.pem"]
            issued.private_key_pem.write_to_path(files[1])
            issued.cert_chain_pems[0].write_to_path(files[2])
            more = {"tls_key": files[1], "tls_certificate": files[2]}
        with node(settings, transport="native", **more):
            answer = _fill(settings, _port(settings), authority)
            files[0].write_bytes(answer)
            with _reference(files) as reference:
                ours = _port(settings), psutil.Process(_pid(settings))
                _measure(ours, reference, asked, len(answer), authority)


def _measure(
    ours_at: Server, reference: Server, asked: argparse.Namespace, size: int, authority: trustme.CA | None
) -> None:
    context = None
    if authority is not None:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        authority.configure_trust(context)
    cases = CASES if authority is None else TLS_CASES
    requests = [
        pb.RecommendRequest(objective="shop", entity_id=_entity(n)).SerializeToString() for n in range(ENTITIES)
    ]
    ratios: dict[str, float] = {}
    details: dict[str, object] = {"answer_bytes": size}
    value = base = 0.0
    for name, (streams, varying, _) in cases.items():
        ours, theirs = Side(*ours_at), Side(*reference)
        for _ in range(asked.rounds):
            for side in (ours, theirs):
                load = Load("localhost", side.port, PATH, requests, streams=streams, varying=varying, ssl=context)
                side.measure(load, asked.seconds)
        mine, other = statistics.median(ours.rates), statistics.median(theirs.rates)
        ratios[name] = mine / other
        cpu, other_cpu = statistics.median(ours.cpu_us), statistics.median(theirs.cpu_us)
        details[name] = {
            "ours": mine,
            "grpcio": other,
            "ratio": mine / other,
            "cpu_us_per_request": [cpu, other_cpu],
            "cpu_ratio": other_cpu / cpu,
        }
        say(
            f"{name}: {mine:,.0f}/s against {other:,.0f}/s, {mine / other:.1f} x; "
            f"{cpu:.1f} against {other_cpu:.1f} us of CPU a request, {other_cpu / cpu:.1f} x"
        )
        if name == "m=16":
            value, base = mine, other
    Result(
        target="P1" if authority is None else "P2",
        what="cached Recommend, 4 connections" + (", TLS" if authority else ""),
        value=value,
        unit="requests/s at m=16",
        required=", ".join(f"{name} >= {least:.0f} x" for name, (_, _, least) in cases.items()),
        met=all(ratios[name] >= least for name, (_, _, least) in cases.items()),
        reference=base,
        details=details,
    ).show()


def _entity(number: int) -> str:
    return f"customer-{number}"


def _port(settings: Settings) -> int:
    return int(json.loads((settings.data_dir / "run" / "node.json").read_text())["address"].rpartition(":")[2])


def _pid(settings: Settings) -> int:
    return int(json.loads((settings.data_dir / "run" / "node.json").read_text())["workers"]["serving-0"])


def _fill(settings: Settings, port: int, authority: trustme.CA | None) -> bytes:
    """Let every entity do something, and wait until all have a prediction; return one answer."""
    bus, topics = connect_bus(settings), settings.topics
    now_ms = time.time_ns() // 1_000_000
    records = [
        encode_event(_entity(n), {"item": items()[n]}, kind="purchase", ts_ms=now_ms, event_id=str(n))
        for n in range(ENTITIES)
    ]
    bus.append_many(topics.events.name, records)
    deadline, waiting = time.monotonic() + _PATIENCE_S, list(range(ENTITIES))
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes()) if authority is not None else None
    where = f"localhost:{port}"
    with grpc.secure_channel(where, trusted) if trusted else grpc.insecure_channel(where) as channel:
        ask = channel.unary_unary(PATH, pb.RecommendRequest.SerializeToString, pb.RecommendResponse.FromString)
        while waiting and time.monotonic() < deadline:
            reply = ask(pb.RecommendRequest(objective="shop", entity_id=_entity(waiting[-1])), timeout=10)
            if reply.source == pb.FROM_NEARLINE:
                waiting.pop()
            else:
                time.sleep(0.01)
    if waiting:
        raise SystemExit(f"{len(waiting)} entities got no prediction")
    answer: bytes = reply.SerializeToString()
    return answer


@contextmanager
def _reference(files: list[Path]) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.rpc_reference", *map(str, files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int((process.stdout or sys.stdin).readline()), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
