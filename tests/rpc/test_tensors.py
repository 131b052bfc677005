"""Tensors of the Open Inference Protocol to and from arrays."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from protos.inference import inference_pb2 as pb
from serving.bundles.datatypes import numpy_dtype
from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError
from serving.recommend.given import Given
from serving.recommend.infer import Inferred, Wanted
from serving.rpc.infer_answers import InferAnswers
from serving.rpc.infer_requests import InferRequests

NUMBERS = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
)  # fmt: skip
FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5)


def read_inputs(request: pb.ModelInferRequest) -> dict[str, NDArray[Any]]:
    """As a handler does, down to the arrays of a run."""
    requests = InferRequests()
    wanted, chunks = requests.read(requests.FromString(request.SerializeToString()))
    return {
        given.name: chunk if isinstance(chunk, np.ndarray) else array_of(given, chunk)
        for given, chunk in zip(wanted.inputs, chunks, strict=True)
    }


def array_of(given: Given, data: bytes) -> NDArray[Any]:
    return np.frombuffer(data, numpy_dtype(given.datatype)).reshape(given.shape)


def raw(datatype: str, shape: tuple[int, ...], data: bytes) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(raw_input_contents=[data])
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    return request


def typed(datatype: str, shape: tuple[int, ...], values: list[Any], field: str = "") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    tensor.contents.SetInParent()
    getattr(tensor.contents, field or FIELDS[datatype]).extend(values)
    return request


def packed(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def written(datatype: str, array: NDArray[Any]) -> pb.ModelInferResponse:
    tensor = Tensor(name="x", datatype=datatype, shape=(-1,) * array.ndim)
    return pb.ModelInferResponse.FromString(
        InferAnswers().encode(Wanted("m", 1, ()), b"", Inferred(1, (tensor,), [array]))
    )


@given(st.data())
def test_numbers_come_back_raw_as_they_were(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(NUMBERS))
    array = data.draw(npst.arrays(numpy_dtype(datatype), npst.array_shapes(min_dims=0, max_dims=3, min_side=0)))
    response = written(datatype, array)
    assert list(response.outputs[0].shape) == list(array.shape)
    read = read_inputs(raw(datatype, array.shape, response.raw_output_contents[0]))["x"]
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert read.tobytes() == array.tobytes()


@given(TEXTS)
def test_strings_come_back_raw_as_they_were(texts: list[str]) -> None:
    array = np.empty(len(texts), object)
    array[:] = texts
    response = written("BYTES", array)
    assert read_inputs(raw("BYTES", (len(texts),), response.raw_output_contents[0]))["x"].tolist() == texts


@given(st.data())
def test_typed_contents_are_read_like_raw_ones(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(sorted(set(NUMBERS) - {"FP16", "BF16"})))
    array = data.draw(npst.arrays(numpy_dtype(datatype), npst.array_shapes(max_dims=2, min_side=0)))
    read = read_inputs(typed(datatype, array.shape, array.ravel().tolist()))["x"]
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert np.array_equal(read, array, equal_nan=array.dtype.kind == "f")


@given(TEXTS)
def test_typed_strings_are_read(texts: list[str]) -> None:
    read = read_inputs(typed("BYTES", (len(texts),), [text.encode() for text in texts]))["x"]
    assert read.tolist() == texts
    assert read.dtype == object


def test_outputs_that_are_views_are_written_in_order() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert written("INT32", array).raw_output_contents[0] == np.ascontiguousarray(array).tobytes()


def test_several_inputs_are_read_by_name() -> None:
    request = pb.ModelInferRequest(raw_input_contents=[b"\1", b"\2\0"])
    request.inputs.add(name="a", datatype="INT8", shape=[1])
    request.inputs.add(name="b", datatype="INT16", shape=[1])
    assert {name: array.tolist() for name, array in read_inputs(request).items()} == {"a": [1], "b": [2]}


HUGE = (1 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (raw("INT64", (2,), b"\0" * 15), "input 'x': expected 16 bytes for INT64 [2], got 15"),
        (raw("FP32", (2,), b"\0" * 12), "input 'x': expected 8 bytes for FP32 [2], got 12"),
        (raw("FP32", HUGE, b""), "input 'x': expected 4398046511104 bytes"),
        (raw("FP32", (-1, 2), b""), "input 'x': expected a shape without negative sizes, got [-1, 2]"),
        (raw("FP32", (1 << 62,) * 4, b""), "input 'x': expected a shape of at most 1099511627776 elements"),
        (raw("FP32", (1 << 62,) * 100_000, b""), "input 'x': expected a shape of at most 32 sizes, got 100000"),
        (raw("FP32", (0, 1 << 62, 4), b""), "input 'x': expected a shape"),
        (raw("FP32", (1,) * 100, b"\0" * 4), "input 'x': expected a shape"),
        (raw("BYTES", (0, 1 << 62, 4), b""), "input 'x': expected a shape"),
        (raw("BF16", (2,), b"\0\0"), "input 'x': expected 4 bytes for BF16 [2], got 2"),
        (typed("BF16", (1,), [1], "fp32_contents"), "input 'x': expected raw_input_contents for 16-bit floats"),
        (raw("FP8", (1,), b"\0"), "input 'x': expected a datatype such as BOOL"),
        (raw("", (1,), b"\0\0"), "input 'x': expected a datatype such as BOOL"),
        (raw("BYTES", (1,), b"\0\0"), "input 'x': expected a length of 4 bytes before each element, got 2 bytes"),
        (raw("BYTES", (1,), packed(b"abc")[:-1]), "input 'x': expected an element of 3 bytes, got 2 bytes"),
        (raw("BYTES", (1,), packed(b"a", b"b")), "input 'x': expected 1 elements for [1], got 2"),
        (raw("BYTES", (3,), packed(b"a")), "input 'x': expected 3 elements for [3], got 1"),
        (raw("BYTES", HUGE, packed(b"a")), "input 'x': expected 1099511627776 elements"),
        (raw("BOOL", (2,), b"\1\2"), "input 'x': expected bytes of 0 or 1, got 2"),
        (raw("BYTES", (1,), packed(b"\xff")), "input 'x': expected elements in UTF-8"),
        (typed("INT64", (3,), [1, 2]), "input 'x': expected 3 elements in int64_contents for [3], got 2"),
        (typed("INT64", (1,), [1], "int_contents"), "input 'x': expected 1 elements in int64_contents for [1], got 0"),
        (typed("INT64", HUGE, [1]), "input 'x': expected 1099511627776 elements"),
        (typed("INT8", (2,), [1, 128]), "input 'x': expected elements within INT8, got 1 to 128"),
        (typed("INT16", (1,), [-32769]), "input 'x': expected elements within INT16"),
        (typed("UINT8", (1,), [256]), "input 'x': expected elements within UINT8"),
        (typed("FP16", (1,), [1], "fp32_contents"), "input 'x': expected raw_input_contents for 16-bit floats"),
        (typed("NO", (1,), [1], "int_contents"), "input 'x': expected a datatype such as"),
        (typed("BYTES", (2,), [b"a"]), "input 'x': expected 2 elements for [2], got 1"),
        (typed("BYTES", (1,), [b"\xff"]), "input 'x': expected elements in UTF-8"),
        (typed("BOOL", (0, 1 << 62, 4), []), "input 'x': expected a shape"),
    ],
)
def test_what_cannot_be_a_tensor_is_named(request_: pb.ModelInferRequest, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_inputs(request_)
    assert str(caught.value).startswith(words)


def test_contents_are_either_raw_or_typed() -> None:
    request = typed("INT64", (1,), [1])
    request.raw_input_contents.append(b"\0" * 8)
    with pytest.raises(InvalidRequestError, match=r"^input 'x': expected raw_input_contents or contents, got both$"):
        read_inputs(request)


def test_each_input_has_its_raw_contents() -> None:
    request = raw("INT8", (1,), b"\1")
    request.raw_input_contents.append(b"\1")
    with pytest.raises(
        InvalidRequestError, match=r"^raw_input_contents: expected one for each of the 1 inputs, got 2$"
    ):
        read_inputs(request)


def test_a_name_comes_once() -> None:
    request = pb.ModelInferRequest(raw_input_contents=[b"\1", b"\1"])
    for _ in range(2):
        request.inputs.add(name="x", datatype="INT8", shape=[1])
    with pytest.raises(InvalidRequestError, match=r"^inputs: expected each name once, got 'x' twice$"):
        read_inputs(request)


DATATYPES = st.sampled_from([*NUMBERS, "BYTES", "", "FP8"])
SHAPES = st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 3), max_size=4).map(tuple)


@given(DATATYPES, SHAPES, st.binary(max_size=40))
def test_whatever_is_sent_raw_raises_nothing_else(datatype: str, shape: tuple[int, ...], data: bytes) -> None:
    try:
        read_inputs(raw(datatype, shape, data))
    except InvalidRequestError as error:
        assert "'x'" in str(error)  # noqa: PT017 - either way is right


@given(DATATYPES, SHAPES, st.sampled_from(sorted(set(FIELDS.values()) - {"bytes_contents"})), st.integers(0, 6))
def test_whatever_is_sent_typed_raises_nothing_else(
    datatype: str, shape: tuple[int, ...], field: str, count: int
) -> None:
    try:
        read_inputs(typed(datatype, shape, [1] * count, field))
    except InvalidRequestError as error:
        assert "'x'" in str(error)  # noqa: PT017 - either way is right
