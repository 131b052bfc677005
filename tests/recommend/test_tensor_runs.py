"""Tensors of several requests as one run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.bundles.datatypes import numpy_dtype
from serving.bundles.manifest import Tensor
from serving.models.circuit import Circuit
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.queue import Waiting
from serving.recommend.rooms import Rooms
from serving.recommend.tensor_runs import Column, TensorRuns
from tests.builders.bundles import load
from tests.builders.graphs import positives
from tests.recommend.bench import bench, gather


def test_outputs_that_are_no_rows_after_all_are_those_of_each_request_alone(tmp_path: Path) -> None:
    model = load(tmp_path, graph=positives())
    with bench() as b:
        for _ in range(2):
            found = gather(*(b.run(model, {"x": np.array(rows, np.float32)}, ["y"]) for rows in ([1, 0], [2], [0, 3])))
            assert [results[0].tolist() for results in found] == [[[0]], [[0]], [[1]]]


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    width=st.sampled_from([0, 1, 3, 20_000]),
    datatype=st.sampled_from(["FP32", "INT8", "FP64"]),
)
def test_putting_together_and_cutting_up_gives_each_what_it_gets_alone(
    sizes: list[int], width: int, datatype: str
) -> None:
    arrays = [np.arange(rows * width).reshape(rows, width).astype(numpy_dtype(datatype)) for rows in sizes]
    runs = TensorRuns((Column("x", numpy_dtype(datatype), (width,)),), ("y",), whole=False, rooms=Rooms(), pace=Pace())
    loaded = cast(
        "LoadedModel",
        SimpleNamespace(
            session=SimpleNamespace(
                run=lambda inputs, _: [inputs["x"] + 1],
                outputs=[Tensor(name="y", datatype=datatype, shape=(-1, width))],
            ),
            predictor=None,
            circuit=Circuit(),
        ),
    )
    raw = [array.tobytes() for array in arrays]
    for chunks in (arrays, raw, [memoryview(b"_" + data)[1:] for data in raw]):
        waiting = [
            Waiting((chunk,), rows, 0, None, cast("Any", None)) for chunk, rows in zip(chunks, sizes, strict=True)
        ]
        for (found,), array in zip(runs.run(loaded, waiting, sum(sizes)), arrays, strict=True):
            assert np.array_equal(found, array + 1)
