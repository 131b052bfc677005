"""LitServe: serve_litserve.py MODEL PORT BATCH_SIZE [fast_queue] [response]. POST /predict {"x": [[64 numbers]]}."""

import json
import sys

import litserve
import numpy as np
from session import Ranker
from starlette.responses import Response

path, port, batch_size, *more = sys.argv[1:]


class OnnxRanker(litserve.LitAPI):
    """Decodes and encodes in the worker that computes, as LitServe does."""

    def setup(self, _device: str) -> None:
        """Open the model."""
        self.ranker = Ranker(path)

    def decode_request(self, request: dict) -> np.ndarray:
        """Read a row, [64]."""
        return np.array(request["x"][0], np.float32)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Put rows together."""
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> list:
        """Compute rows, or one of them where LitServe does not batch."""
        items, scores = self.ranker(x.reshape(-1, 64))
        answers = list(zip(items.tolist(), scores.tolist(), strict=True))
        return answers if x.ndim > 1 else answers[0]

    def unbatch(self, output: list) -> list:
        """Take rows apart."""
        return output

    def encode_response(self, output: tuple):  # noqa: ANN201 - FastAPI would make a schema of it
        """Give lists, which FastAPI encodes in the other process, or all of the answer."""
        answer = {"items": [output[0]], "scores": [output[1]]}
        return Response(json.dumps(answer), media_type="application/json") if "response" in more else answer


if __name__ == "__main__":
    api = OnnxRanker(max_batch_size=int(batch_size), batch_timeout=0.0)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, fast_queue="fast_queue" in more, timeout=60
    )
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="error", generate_client_file=False)
