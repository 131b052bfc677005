"""`/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts or balances, over WSGI."""

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector

from serving.errors import UserError

Readiness = Callable[[], dict[str, bool]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
        """Probes every few seconds are no events."""


class HttpEndpoints:
    """A thread with a small server. Ready = every worker is."""

    def __init__(self, host: str, port: int, metrics_dir: str, readiness: Readiness) -> None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, metrics_dir)
        self._metrics = make_wsgi_app(registry)
        self._readiness = readiness
        try:
            self._server = make_server(host, port, self._answer, _Server, _Quiet)
        except OSError as error:
            raise UserError(
                f"metrics_port: expected a free one, got {host}:{port} ({error.strerror}); choose with --metrics-port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            found: Iterable[bytes] = self._metrics(environ, start_response)
            return found
        workers = self._readiness()
        if path == "/healthz":
            ok, body = True, {"live": True}
        elif path == "/readyz":
            ok = bool(workers) and all(workers.values())
            body = {"ready": ok, **{f"worker {name}": ready for name, ready in workers.items()}}
        else:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"try /metrics, /healthz or /readyz\n"]
        status = "200 OK" if ok else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode() + b"\n"]
