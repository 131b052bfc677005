"""ModelInfer's messages as we read and write them by hand are those of protobuf."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from protos.inference import inference_pb2 as pb
from serving.bundles.datatypes import numpy_dtype
from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError
from serving.recommend.infer import Inferred, Wanted
from serving.rpc.infer_answers import InferAnswers
from serving.rpc.infer_requests import InferRequests
from serving.rpc.infer_split import model_of, split

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NAMES = st.sampled_from(["", "x", "y", "é" * 70])
PARAMETERS = st.dictionaries(TEXT, st.builds(pb.InferParameter, int64_param=st.integers(0, 5)), max_size=2)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=NAMES,
    datatype=st.sampled_from(["FP32", "INT8", "?"]),
    shape=st.lists(st.integers(-1, 3), max_size=3),
    parameters=PARAMETERS,
)
REQUESTS = st.builds(
    pb.ModelInferRequest,
    model_name=NAMES,
    model_version=NAMES,
    id=TEXT,
    parameters=PARAMETERS,
    inputs=st.lists(INPUTS, max_size=2),
    outputs=st.lists(st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=NAMES), max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=5) | st.binary(min_size=127, max_size=300), max_size=3),
)


@given(REQUESTS)
def test_the_beginning_of_a_request_says_whose_it_is_if_nothing_later_does(request: pb.ModelInferRequest) -> None:
    data = request.SerializeToString()
    found = model_of(data, sure=True)
    assert found == model_of(data)
    if not found:
        assert not request.model_name or len(request.model_name.encode() + request.model_version.encode()) > 127
        return
    whole = pb.ModelInferRequest.FromString(found)
    assert (whole.model_name, whole.model_version) == (request.model_name, request.model_version)
    for other in (b"\x0a\x01n", b"\x12\x017"):
        assert model_of(data + b"\x1a\x01i" + other, sure=True) == b""
    assert model_of(data + b"\x1a", sure=True) == b"", "cut off"


@given(REQUESTS)
def test_what_is_cut_up_is_the_whole_request(request: pb.ModelInferRequest) -> None:
    parts = split(request.SerializeToString())
    if parts is None:
        assert not request.raw_input_contents
        return
    head, ident, raw = parts
    again = pb.ModelInferRequest.FromString(head)
    assert not again.id
    again.id = ident.decode()
    again.raw_input_contents.extend(bytes(data) for data in raw)
    assert again == request


@given(st.one_of(st.binary(max_size=30), REQUESTS.map(lambda request: request.SerializeToString())), st.data())
def test_what_protobuf_refuses_is_refused_and_nothing_else(data: bytes, draws: st.DataObject) -> None:
    if data:
        at = draws.draw(st.integers(0, len(data) - 1))
        data = draws.draw(st.sampled_from([data, data[:at], data[:at] + b"\xff" + data[at + 1 :]]))
    requests = InferRequests()
    for _ in range(2):  # the second is known already
        try:
            expected: Any = pb.ModelInferRequest.FromString(data)
        except DecodeError:
            with pytest.raises(DecodeError):
                requests.FromString(data)
            return
        found = requests.FromString(data)
        assert found.id == expected.id.encode()
        assert [bytes(part) for part in found.raw] == list(expected.raw_input_contents)
        try:
            wanted, _ = requests.read(found)
        except InvalidRequestError:
            continue
        assert (wanted.model, wanted.outputs) == (expected.model_name, tuple(o.name for o in expected.outputs))
        assert [(i.name, i.datatype, list(i.shape)) for i in wanted.inputs] == [
            (i.name, i.datatype, list(i.shape)) for i in expected.inputs
        ]


@st.composite
def outputs(draw: st.DrawFn) -> tuple[Tensor, NDArray[Any]]:
    datatype = draw(st.sampled_from(["FP32", "INT64", "BOOL", "FP16", "BYTES"]))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=3, min_side=0))
    if datatype == "BYTES":
        array = np.empty(shape, object)
        array[...] = draw(TEXT)
    else:
        array = draw(npst.arrays(numpy_dtype(datatype), shape))
    tensor = Tensor(name=draw(TEXT) or "y", datatype=datatype, shape=(-1,) * array.ndim)
    return tensor, array.T if draw(st.booleans()) else array


@given(st.lists(outputs(), max_size=3), TEXT, TEXT, st.integers(1, 2**63 - 1))
def test_an_answer_is_the_bytes_that_protobuf_makes(
    found: list[tuple[Tensor, NDArray[Any]]], model: str, ident: str, version: int
) -> None:
    response = pb.ModelInferResponse(model_name=model, model_version=str(version), id=ident)
    for tensor, array in found:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        data = array.tobytes()
        if tensor.datatype == "BYTES":
            data = b"".join(len(v.encode()).to_bytes(4, "little") + v.encode() for v in array.ravel())
        response.raw_output_contents.append(data)
    answers = InferAnswers()
    inferred = Inferred(version, tuple(t for t, _ in found), [a for _, a in found])
    wanted = Wanted(model, version, ())
    for _ in range(2):
        assert answers.encode(wanted, ident.encode(), inferred) == response.SerializeToString()


@given(st.data(), st.integers(2, 9), st.integers(1, 3))
def test_answers_that_are_encoded_together_are_those_of_each(draws: st.DataObject, requests: int, rows: int) -> None:
    found = []
    for number, datatype in enumerate(
        draws.draw(st.lists(st.sampled_from(["FP32", "INT64", "BOOL", "BYTES"]), min_size=1))
    ):
        shape = (requests * rows, *draws.draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0)))
        if datatype == "BYTES":
            array = np.empty(shape, object)
            array[...] = draws.draw(TEXT)
        else:
            array = draws.draw(npst.arrays(numpy_dtype(datatype), shape))
        found.append((Tensor(name=f"y{number}", datatype=datatype, shape=(-1,) * array.ndim), array))
    answers, wanted, tensors = InferAnswers(), Wanted("m", None, ()), tuple(tensor for tensor, _ in found)
    parts = [[array[at * rows : (at + 1) * rows] for _, array in found] for at in range(requests)]
    each = [InferAnswers().encode(wanted, b"", Inferred(1, tensors, part)) for part in parts]
    for _ in range(2):  # the second time, what is around the values is known
        assert answers.encode_all(wanted, Inferred(1, tensors, [array for _, array in found]), requests) == each


def test_large_values_are_not_copied_out_of_a_request() -> None:
    data = pb.ModelInferRequest(raw_input_contents=[bytes(5000)]).SerializeToString()
    parts = split(data)
    assert parts is not None
    assert isinstance(parts[2][0], memoryview)
    assert parts[2][0].obj is data


def test_requests_that_differ_in_id_and_values_are_read_once() -> None:
    requests = InferRequests()
    wanted = set()
    for number in range(5):
        request = pb.ModelInferRequest(model_name="m", id=f"{number}", raw_input_contents=[bytes([number])])
        request.inputs.add(name="x", datatype="INT8", shape=[1])
        taken = requests.FromString(request.SerializeToString())
        assert (taken.message is None) is (number > 0)
        found, (value,) = requests.read(taken)
        assert value == bytes([number])
        wanted.add(found)
    assert len(wanted) == 1


def shaped(*rows: int, ident: str = "", name: str = "x") -> bytes:
    """A request with so many bytes in each input."""
    request = pb.ModelInferRequest(model_name="m", id=ident)
    for number, size in enumerate(rows):
        request.inputs.add(name=f"{name}{number}", datatype="INT8", shape=[size])
        request.raw_input_contents.append(bytes(range(256)) * (size // 256) + bytes(range(size % 256)))
    return request.SerializeToString()


@given(
    st.lists(st.lists(st.sampled_from([0, 1, 2, 127, 128, 5000]), min_size=1, max_size=3), min_size=1, max_size=6),
    st.data(),
)
def test_what_is_laid_out_like_one_before_says_what_it_says(requests: list[list[int]], draws: st.DataObject) -> None:
    reader = InferRequests()
    for rows in requests:
        data = shaped(*rows, ident=draws.draw(st.sampled_from(["", "7"])), name=draws.draw(st.sampled_from("xy")))
        taken = reader.FromString(data)
        wanted, values = reader.read(taken)
        for _ in range(2):
            assert reader.known(data) == (wanted, values, taken.id)
        at = draws.draw(st.integers(0, len(data) - 1))
        other = draws.draw(st.sampled_from([data[:at], data[:at] + b"\xff" + data[at + 1 :], data + data[at:]]))
        known = reader.known(other)
        if known is not None:
            expected = pb.ModelInferRequest.FromString(other)
            assert [bytes(value) for value in known[1]] == list(expected.raw_input_contents)
            assert known[0].model == expected.model_name
            assert known[2] == expected.id.encode()


PARAMETER = pb.InferParameter(int64_param=5)


@pytest.mark.parametrize(
    ("name", "where", "words"),
    [
        ("sequence_id", "", "parameter 'sequence_id': expected none, models keep no state, got 5"),
        ("binary_data_size", "input", "input 'x' parameter 'binary_data_size': expected none, values are raw or typed"),
        (
            "classification",
            "output",
            "output 'y' parameter 'classification': expected none, outputs are tensors, got 5",
        ),
        ("shared_memory_region", "input", "input 'x' parameter 'shared_memory_region': expected none, values in the"),
    ],
)
def test_a_parameter_that_would_change_the_answer_is_refused(name: str, where: str, words: str) -> None:
    request = pb.ModelInferRequest(raw_input_contents=[b"\0"])
    tensor = request.inputs.add(name="x", datatype="INT8", shape=[1])
    output = request.outputs.add(name="y")
    holder: Any = {"": request, "input": tensor, "output": output}[where]
    holder.parameters[name].CopyFrom(PARAMETER)
    requests = InferRequests()
    with pytest.raises(InvalidRequestError) as caught:
        requests.read(requests.FromString(request.SerializeToString()))
    assert str(caught.value).startswith(words)


def test_other_parameters_and_those_that_ask_for_nothing_are_ignored() -> None:
    request = pb.ModelInferRequest(raw_input_contents=[b"\0"])
    request.inputs.add(name="x", datatype="INT8", shape=[1])
    request.parameters["priority"].int64_param = 1
    request.parameters["sequence_id"].int64_param = 0
    request.inputs[0].parameters["binary_data"].bool_param = False
    requests = InferRequests()
    assert requests.read(requests.FromString(request.SerializeToString()))[1] == (b"\0",)
