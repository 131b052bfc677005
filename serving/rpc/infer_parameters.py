"""Parameters of a ModelInferRequest. The protocol leaves them to the server, and has it ignore what it does not know.

What would change the meaning of the request is refused rather than ignored: its answer would be another one than what
was asked for.
"""

from collections.abc import Mapping
from typing import Any

from protos.inference import inference_pb2 as pb
from serving.errors import InvalidRequestError

_REFUSED: Mapping[str, str] = {
    "binary_data": "none, values are raw or typed",
    "binary_data_size": "none, values are raw or typed",
    "binary_data_output": "none, outputs are raw",
    "classification": "none, outputs are tensors",
    "content_type": "none, tensors are of their datatype",
    "shared_memory_region": "none, values in the request",
    "shared_memory_byte_size": "none, values in the request",
    "shared_memory_offset": "none, values in the request",
    "sequence_id": "none, models keep no state",
    "sequence_start": "none, models keep no state",
    "sequence_end": "none, models keep no state",
}
"""Extensions of Triton, KServe and MLServer, and what we expect instead."""


def check_parameters(message: pb.ModelInferRequest) -> None:
    """InvalidRequestError for one that we would have to obey and cannot."""
    _check("", message.parameters)
    for tensor in message.inputs:
        _check(f"input {tensor.name!r} ", tensor.parameters)
    for output in message.outputs:
        _check(f"output {output.name!r} ", output.parameters)


def _check(where: str, parameters: Mapping[str, Any]) -> None:
    if not parameters:
        return
    for name, value in parameters.items():
        expected = _REFUSED.get(name)
        said = _said(value)
        if expected is not None and said:
            raise InvalidRequestError(f"{where}parameter {name!r}", expected, repr(said)[:80])


def _said(value: pb.InferParameter) -> object:
    """The value; what asks for nothing, such as `binary_data: false` or a sequence 0, is false."""
    kind = value.WhichOneof("parameter_choice")
    return kind and getattr(value, kind)
