"""What tritonclient sees of a node, as JSON: run by its own interpreter, in an environment of its own.

Its messages register under the same names as ours, and its protobuf is older: one process cannot hold both.
"""

import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main() -> None:
    """Ask the node at argv[1]."""
    client = triton.InferenceServerClient(sys.argv[1])
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("twice"),
        "version_ready": client.is_model_ready("twice", "1"),
        "other_ready": client.is_model_ready("nope"),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata("twice", as_json=True),
        "raw": _infer(client, raw=True),
        "typed": _infer(client, raw=False),
        "strings": _strings(client),
        "stream": _stream(client),
        "error": _error(client),
    }
    json.dump(found, sys.stdout)


def _input(raw: bool) -> "triton.InferInput":
    given = triton.InferInput("x", [2, 3], "FP32")
    given.set_data_from_numpy(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    if not raw:
        tensor = given._get_tensor()
        tensor.contents.fp32_contents.extend([1, 2, 3, 4, 5, 6])
        given._raw_content = None
    return given


def _infer(client: "triton.InferenceServerClient", raw: bool) -> Any:
    result = client.infer("twice", [_input(raw)], outputs=[triton.InferRequestedOutput("y")], request_id="r1")
    assert result.get_response().id == "r1"
    return result.as_numpy("y").tolist()


def _strings(client: "triton.InferenceServerClient") -> list[str]:
    given = triton.InferInput("words", [2], "BYTES")
    given.set_data_from_numpy(np.array([b"one", "zwölf".encode()], np.object_))
    result = client.infer("echo", [given])
    return [word.decode() for word in result.as_numpy("same").tolist()]


def _stream(client: "triton.InferenceServerClient") -> Any:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    client.async_stream_infer("twice", [_input(raw=True)])
    answer = answers.get(timeout=60)
    client.stop_stream()
    return answer.as_numpy("y").tolist()


def _error(client: "triton.InferenceServerClient") -> list[str]:
    wrong = triton.InferInput("x", [1, 4], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 4), np.float32))
    try:
        client.infer("twice", [wrong])
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return []


main()
