"""The graph of a model as a picture."""

from itertools import combinations
from xml.etree import ElementTree as ET

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from publisher.drawing import MOST, draw_graph
from publisher.layers import lay_out
from serving.errors import UserError
from tests.builders.graphs import doubler, model, recommender

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 14))
    sizes = [(draw(st.floats(10, 300)), draw(st.floats(10, 80))) for _ in range(count)]
    pairs = list(combinations(range(count), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []
    return sizes, edges


@given(graphs())
def test_boxes_never_overlap_and_edges_run_downwards(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    boxes = [
        (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        for (x, y), (width, height) in zip(layout.centres, sizes, strict=True)
    ]
    for one, two in combinations(boxes, 2):
        assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
    for left, top, right, bottom in boxes:
        assert left >= -1e-6
        assert top >= -1e-6
        assert right <= layout.width + 1e-6
        assert bottom <= layout.height + 1e-6
    assert set(layout.routes) == set(edges)
    for (start, end), points in layout.routes.items():
        assert (points[0], points[-1]) == (layout.centres[start], layout.centres[end])
        assert [y for _, y in points] == sorted(y for _, y in points)
        assert points[0][1] < points[-1][1]


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


def test_it_shows_inputs_operators_with_weights_and_outputs() -> None:
    svg = draw_graph(recommender())
    shown = words(svg)
    assert shown[:4] == ["history", "int64 [batch, 4]", "Gather", "similarity [21, 20]"]
    assert {"ReduceSum", "TopK", "items", "scores", "float [batch, 3]"} <= set(shown)
    assert len(ET.fromstring(svg).findall(f"{SVG}path")) == 5, "an arrow for each edge"  # noqa: S314


def test_names_that_look_like_markup_are_only_text() -> None:
    graph = doubler()
    graph.graph.output[0].name = graph.graph.node[0].output[0] = "<script>alert(1)</script>\x07"
    assert "<script>alert(1)</script>?" in words(draw_graph(graph))


def test_constants_are_weights_and_long_names_are_cut() -> None:
    name = "c" * 90
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], [name], value_float=2.0),
            helper.make_node("Mul", ["x", name], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    assert words(draw_graph(model(graph))) == ["x", "float [?]", "Mul", "c" * 39 + "…", "y", "float [?]"]


def test_a_graph_that_nobody_could_look_at_is_refused() -> None:
    graph = onnx.ModelProto()
    graph.graph.node.extend(helper.make_node("Relu", ["x"], [f"y{at}"]) for at in range(MOST + 1))
    with pytest.raises(UserError, match="expected at most 3000 operators to draw, got 3001"):
        draw_graph(graph)
