"""ModelInferRequest, from bytes: what comes again and again is read once.

Requests of a client are alike but for their values, which are raw and stand last. So the values are cut off by hand,
and what stands before them is looked up; protobuf reads it when it is new, and reads all of what is laid out otherwise.
"""

from collections.abc import Sequence
from typing import NamedTuple

from protos.inference import inference_pb2 as pb
from serving.errors import InvalidRequestError
from serving.recommend.infer import Wanted
from serving.recommend.tensor_runs import Chunk
from serving.rpc.infer_parameters import check_parameters
from serving.rpc.infer_split import Layout, split
from serving.rpc.tensors import describe, read_raw, read_typed, size_of
from serving.rpc.versions import version_of

_KNOWN = 1_000
_KNOWN_BYTES = 4_096


class Head(NamedTuple):
    """What a request says beside its values. sizes: bytes of each raw value; -1 where they have to be looked at."""

    wanted: Wanted
    sizes: tuple[int, ...]


_NO_WANTED = Wanted("", None, ())
_NO_LAYOUT = Layout(b"", (1 << 31,))
"""Of no message: none is as long."""


class InferRequest(NamedTuple):
    """A request that is protobuf, and may be wrong otherwise: `InferRequests.read` tells.

    head: None where it is not known yet; then `message` has it. known_by: what it is to be remembered by; empty = not.
    """

    head: Head | None
    message: pb.ModelInferRequest | None
    known_by: bytes
    id: bytes
    raw: tuple[Chunk, ...]


class InferRequests:
    """Reads requests; used on the event loop. Stands where a method has the class of its request's messages."""

    DESCRIPTOR = pb.ModelInferRequest.DESCRIPTOR

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        self._wanted: dict[tuple[object, ...], Wanted] = {}
        self._layout, self._layout_wanted = _NO_LAYOUT, _NO_WANTED
        """Of the last known request: usually the next is laid out likewise."""

    def known(self, data: bytes) -> tuple[Wanted, tuple[Chunk, ...], bytes] | None:
        """Return what is wanted, the values of each input and the id, of a request like one before; None for others."""
        values = self._layout.values(data)
        if values is not None:
            return self._layout_wanted, values, b""
        parts = split(data)
        if parts is None:
            return None
        known_by, ident, raw = parts
        head = self._heads.get(known_by)
        if head is None or tuple(map(len, raw)) != head.sizes:
            return None
        if not ident:
            self._layout, self._layout_wanted = Layout(known_by, head.sizes), head.wanted
        return head.wanted, raw, ident

    def alike(self, messages: Sequence[bytes]) -> tuple[Wanted, tuple[bytes, ...]] | None:
        """Return what several requests want that are laid out like one before, and the values of each input of all.

        None where one is not, has an id, or is so large that its values had better not be copied.
        """
        if len(messages[0]) > _KNOWN_BYTES or self.known(messages[0]) is None:
            return None
        values = [self._layout.values(message) for message in messages]
        if None in values:
            return None
        return self._layout_wanted, tuple(map(b"".join, zip(*values, strict=True)))

    def FromString(self, data: bytes) -> InferRequest:  # noqa: N802 - as protobuf calls it
        """Take a request apart; DecodeError when it is none."""
        parts = split(data)
        if parts is None:
            message = pb.ModelInferRequest.FromString(data)
            return InferRequest(None, message, b"", message.id.encode(), tuple(message.raw_input_contents))
        known_by, ident, raw = parts
        head = self._heads.get(known_by)
        return InferRequest(head, None if head else pb.ModelInferRequest.FromString(known_by), known_by, ident, raw)

    def read(self, request: InferRequest) -> tuple[Wanted, tuple[Chunk, ...]]:
        """Return what is wanted, and the values of each input; InvalidRequestError names what is wrong."""
        head, message, known_by, _, raw = request
        if head is None:
            assert message is not None  # noqa: S101 - one of them is there
            wanted = self._want(message)
            if not raw:
                return wanted, tuple(map(read_typed, wanted.inputs, message.inputs))
            _check_raw(message, len(raw))
            head = Head(wanted, tuple(map(size_of, wanted.inputs)))
            if 0 < len(known_by) <= _KNOWN_BYTES:
                if len(self._heads) >= _KNOWN:
                    self._heads.clear()
                self._heads[known_by] = head
        elif len(raw) != len(head.sizes):
            raise _count(len(head.sizes), len(raw))
        if tuple(map(len, raw)) == head.sizes:
            return head.wanted, raw
        return head.wanted, tuple(map(read_raw, head.wanted.inputs, raw))

    def _want(self, message: pb.ModelInferRequest) -> Wanted:
        check_parameters(message)
        inputs = tuple(describe(tensor) for tensor in message.inputs)
        names = [one.name for one in inputs]
        for name in names:
            if names.count(name) > 1:
                raise InvalidRequestError("inputs", "each name once", f"{name!r} twice")
        outputs = tuple(output.name for output in message.outputs)
        key = (message.model_name, version_of(message.model_version), inputs, outputs)
        wanted = self._wanted.get(key)
        if wanted is None:
            if len(self._wanted) >= _KNOWN:
                self._wanted.clear()
            wanted = self._wanted[key] = Wanted(*key)
        return wanted


def _check_raw(message: pb.ModelInferRequest, values: int) -> None:
    if values != len(message.inputs):
        raise _count(len(message.inputs), values)
    for tensor in message.inputs:
        if tensor.HasField("contents"):
            raise InvalidRequestError(f"input {tensor.name!r}", "raw_input_contents or contents", "both")


def _count(inputs: int, values: int) -> InvalidRequestError:
    return InvalidRequestError("raw_input_contents", f"one for each of the {inputs} inputs", values)
