"""Ray Serve over HTTP, one replica, with raw tensors as bodies: behind its proxy, and with requests straight to the replica."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_http import BINARY, HttpCaller, binary_answer, binary_body
from benchmarks.peers.processes import free_port
from benchmarks.peers.scripts import SERVERS, Script, scripted


def _command(model: Path, port: int, _folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    proxy_port = free_port() if options["direct"] else port
    return [SERVERS / "serve_ray.py", model, str(port), str(proxy_port), str(options.get("batch", 1))]


PEER = scripted(
    "ray",
    "Ray Serve",
    HttpCaller("/", BINARY, binary_body, binary_answer),
    Script("ray", _command, {"RAY_USAGE_STATS_ENABLED": "0"}),
    {
        "default proxy": {"direct": False},
        "direct ingress, throughput-optimised": {"direct": True},
        "direct ingress, throughput-optimised, batches of 64": {"direct": True, "batch": 64},
    },
    "ray",
)
