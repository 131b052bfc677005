"""Ray Serve over HTTP, one replica, raw tensors as bodies: behind its proxy, and straight to the replica."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.over_http import BINARY, HttpCaller, binary_answer, binary_body
from benchmarks.peers.processes import free_port
from benchmarks.peers.scripts import SERVERS, Script, scripted

_DIRECT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": "{port}",
    "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": "{after}",  # the first that is not taken
}


def _command(model: Path, port: int, _folder: Path, options: Mapping[str, Any]) -> Sequence[str | Path]:
    proxy_port = free_port() if "environment" in options else port
    return [SERVERS / "serve_ray.py", model, str(proxy_port), str(options.get("batch", 1))]


PEER = scripted(
    "ray",
    "Ray Serve",
    HttpCaller("/", BINARY, binary_body, binary_answer),
    Script("ray", _command, {"RAY_USAGE_STATS_ENABLED": "0"}),
    {
        "default proxy": {},
        "direct ingress, throughput-optimised": {"environment": _DIRECT},
        "direct ingress, throughput-optimised, batches of 64": {"environment": _DIRECT, "batch": 64},
    },
    "ray",
)
