"""Other people's load generators at a rate: `ghz` (`make tools`) and `h2load` (nghttp2), and what they say in the end.

Both send one request again and again over the same number of connections, ghz with equal gaps. h2load looks every
hundredth of a second what is due, and sends that at a time.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

CONNECTIONS, STREAMS = 4, 64
_GHZ = Path(__file__).parents[1] / ".tools" / "bin" / "ghz"
_NAMES = {"OK": "OK", "ResourceExhausted": "RESOURCE_EXHAUSTED", "Unavailable": "UNAVAILABLE", "NotFound": "NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Said:
    """calls: that ended, sent `bunch` at a time. statuses: by name, or else what it has. Latencies in milliseconds."""

    calls: int
    achieved: float
    p50_ms: float
    p99_ms: float
    statuses: Mapping[str, int]
    bunch: int = 1


def ghz(target: str, path: str, request: Message, rate: int, seconds: int) -> Said:
    """SystemExit where it is missing or fails."""
    if not _GHZ.exists():
        raise SystemExit("ghz: expected it in .tools/bin; `make tools` builds it")
    command = [
        str(_GHZ), "--insecure", "--call", path.strip("/"), "--async", "--rps", str(rate), "--total",
        str(rate * seconds), "--data", json.dumps(MessageToDict(request, preserving_proto_field_name=True)),
        "--connections", str(CONNECTIONS), "--concurrency", str(CONNECTIONS * STREAMS), "--timeout", "10s",
        "--disable-template-functions", "--format", "json", target,
    ]  # fmt: skip
    report = json.loads(_output(command))
    latencies = {place["percentage"]: place["latency"] / 1e6 for place in report["latencyDistribution"]}
    statuses = {_NAMES.get(name, name): count for name, count in report["statusCodeDistribution"].items()}
    return Said(report["count"], report["rps"], latencies[50], latencies[99], statuses)


def h2load(target: str, path: str, request: Message, rate: int, seconds: int, folder: Path) -> Said:
    """As above. It knows no gRPC: its statuses are HTTP's. Its log of every call gives the percentiles."""
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit("h2load: expected it on the path; `.ci/system-packages` installs it")
    message = request.SerializeToString()
    body, log = folder / "body", folder / "log"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    log.unlink(missing_ok=True)
    _output([
        program, f"--requests={rate * seconds}", f"--clients={CONNECTIONS}", f"--max-concurrent-streams={STREAMS}",
        f"--rps={rate / CONNECTIONS}", f"--data={body}", f"--log-file={log}",
        "--header=content-type: application/grpc", "--header=te: trailers", f"http://{target}{path}",
    ])  # fmt: skip
    begun, status, took = np.loadtxt(log, np.int64, ndmin=2, usecols=(0, 1, 2)).T
    passed_s = ((begun + took).max() - begun.min()) / 1e6
    names, counts = np.unique(status, return_counts=True)
    p50, p99 = np.percentile(took, (50, 99)) / 1000
    statuses = {f"HTTP {name}": count for name, count in zip(names.tolist(), counts.tolist(), strict=True)}
    apart = np.diff(np.sort(begun)) > 1e6 / rate / 2
    bunch = max(1, round(len(took) / (1 + apart.sum())))
    return Said(len(took), len(took) / passed_s, float(p50), float(p99), statuses, bunch)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout
