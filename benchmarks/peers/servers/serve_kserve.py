"""A model for KServe's own Python server: serve_kserve.py MODEL PORT HTTP_PORT; logs of requests are off."""

import logging
import sys

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from session import Ranker

path, port, http_port = sys.argv[1:]


class OnnxRanker(Model):
    """`ranker`."""

    def __init__(self) -> None:
        super().__init__("ranker")
        self.ranker = Ranker(path)
        self.ready = True

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:  # noqa: ANN001
        """Answer."""
        del headers, response_headers
        items, scores = self.ranker(payload.inputs[0].as_numpy())
        outputs = [
            InferOutput("items", list(items.shape), "INT64"),
            InferOutput("scores", list(scores.shape), "FP32"),
        ]
        outputs[0].set_data_from_numpy(items)
        outputs[1].set_data_from_numpy(scores)
        return InferResponse(payload.id, "ranker", outputs)


server = ModelServer(
    http_port=int(http_port), grpc_port=int(port), workers=1, enable_grpc=True, enable_latency_logging=False
)
for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.access"):  # configured just now
    logging.getLogger(name).setLevel(logging.ERROR)
server.start([OnnxRanker()])
