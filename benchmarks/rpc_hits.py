"""P1 and P2: cached `Recommend` through the real server, against a grpcio aio server that returns the same bytes.

    python -m benchmarks.rpc_hits [--tls] [--seconds S] [--rounds N]

A node (one serving worker, transport `native`, its own bus and store) on one core, the generator (rpc_load.py) on the
other. Both servers are measured in turns, with 16 and 1 calls running on each of 4 connections, and with a deadline and
a traceparent that vary with every call. P2 is the same with TLS on both sides.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil

from benchmarks.certificates import Certificates
from benchmarks.nodes import CLIENT_CORE, node, pin
from benchmarks.result import Result, say
from benchmarks.rpc_load import Load, run
from benchmarks.shop import HISTORY, items, model
from protos.nearline.v1 import recommender_pb2 as pb
from publisher.api import publish
from serving.bundles.nearline import DAY_S, NearlineSettings
from serving.bus.connect import connect_bus
from serving.recipes.event import encode_event
from serving.recipes.features import LastN
from serving.recipes.recipe import Recipe
from serving.settings import Settings

PATH = "/nearline.v1.Recommender/Recommend"
ENTITIES = 2_000
CASES = {"m=16": (16, False, 40.0), "m=1": (1, False, 10.0), "m=16, varying": (16, True, 20.0)}
TLS_CASES = {"m=16": (16, False, 30.0), "m=1": (1, False, 4.0)}
_PATIENCE_S = 60.0


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
    parser.add_argument("--tls", action="store_true", help="P2")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        tls = Certificates(Path(folder)) if asked.tls else None
        ours = tls.settings() if tls else {}
        settings = Settings.model_validate({"data_dir": folder, "workers": 1, "nearline_workers": 1, **ours})
        recipe: Recipe = {"history": LastN(n=HISTORY, types=("purchase",))}
        publish("shop", model(), items=items(), recipe=recipe, nearline=NearlineSettings(ttl=DAY_S), settings=settings)
        with node(settings, transport="native"):
            port = _port(settings)
            answer = _fill(settings, port, tls)
            (Path(folder) / "answer").write_bytes(answer)
            with _reference(Path(folder) / "answer", tls) as reference:
                _measure(port, _pid(settings), reference, asked.seconds, asked.rounds, len(answer), tls)


def _measure(
    port: int,
    worker: int,
    reference: tuple[int, psutil.Process],
    seconds: float,
    rounds: int,
    size: int,
    tls: Certificates | None,
) -> None:
    cases, secured = (TLS_CASES, tls.client()) if tls else (CASES, None)
    requests = [
        pb.RecommendRequest(objective="shop", entity_id=_entity(n)).SerializeToString() for n in range(ENTITIES)
    ]
    ratios: dict[str, float] = {}
    details: dict[str, object] = {"answer_bytes": size}
    value = base = 0.0
    for name, (streams, varying, _) in cases.items():
        ours, theirs = Side(port, psutil.Process(worker)), Side(*reference)
        for _ in range(rounds):
            for side in (ours, theirs):
                load = Load("127.0.0.1", side.port, PATH, requests, streams=streams, varying=varying, ssl=secured)
                side.measure(load, seconds)
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
        target="P2" if tls else "P1",
        what=f"cached Recommend, 4 connections{' of TLS' if tls else ''}",
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


def _fill(settings: Settings, port: int, tls: Certificates | None) -> bytes:
    """Let every entity do something, and wait until all have a prediction; return one answer."""
    bus, topics = connect_bus(settings.bus, settings.data_dir), settings.topics
    now_ms = time.time_ns() // 1_000_000
    records = [
        encode_event(_entity(n), {"item": items()[n]}, kind="purchase", ts_ms=now_ms, event_id=str(n))
        for n in range(ENTITIES)
    ]
    bus.append_many(topics.events.name, records)
    deadline, waiting = time.monotonic() + _PATIENCE_S, list(range(ENTITIES))
    address = f"127.0.0.1:{port}"
    with grpc.secure_channel(address, tls.credentials()) if tls else grpc.insecure_channel(address) as channel:
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
def _reference(answer: Path, tls: Certificates | None) -> Iterator[tuple[int, psutil.Process]]:
    command = [sys.executable, "-m", "benchmarks.rpc_reference", str(answer), *(map(str, tls.files) if tls else ())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int((process.stdout or sys.stdin).readline()), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
