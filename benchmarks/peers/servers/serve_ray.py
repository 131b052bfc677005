"""Ray Serve: serve_ray.py MODEL PROXY_PORT BATCH_SIZE. BATCH_SIZE 1: no batching. Bodies are raw tensors."""

import signal
import sys
import time
from pathlib import Path

import numpy as np
import ray
from ray import serve
from session import Ranker
from starlette.requests import Request
from starlette.responses import Response

path, proxy_port, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


@serve.deployment(num_replicas=1, max_ongoing_requests=1_000, ray_actor_options={"num_cpus": 0})
class OnnxRanker:
    """One replica."""

    def __init__(self, model: str, most: int) -> None:
        self.ranker = Ranker(model)
        self.most = most

    @serve.batch(max_batch_size=max(batch_size, 1), batch_wait_timeout_s=0.0)
    async def together(self, rows: list[np.ndarray]) -> list[bytes]:
        """Answer those that came together."""
        items, scores = self.ranker(np.concatenate(rows))
        return [i.tobytes() + s.tobytes() for i, s in zip(items, scores, strict=True)]

    async def __call__(self, request: Request) -> Response:
        """Answer one."""
        row = np.frombuffer(await request.body(), np.float32).reshape(1, -1)
        if self.most > 1:
            return Response(await self.together(row))
        items, scores = self.ranker(row)
        return Response(items.tobytes() + scores.tobytes())


def end(*_: object) -> None:
    """Leave by the usual way, which ends what Ray started."""
    sys.exit()


signal.signal(signal.SIGTERM, end)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=True, configure_logging=False, _temp_dir=str(Path.cwd()))
serve.start(
    http_options={"host": "127.0.0.1", "port": proxy_port},
    logging_config={"log_level": "ERROR", "enable_access_log": False},
)
serve.run(OnnxRanker.bind(path, batch_size), name="ranker", route_prefix="/")
while True:
    time.sleep(1)
