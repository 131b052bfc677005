"""Draws a model's graph as SVG: inputs on top, operators with their weights, outputs below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

import onnx

from publisher.description import operator
from publisher.layers import lay_out
from publisher.sources.source import inputs_of
from serving.errors import UserError

MOST = 3000
"""Boxes that somebody can still make sense of, and a browser shows."""
_MARGIN, _LINE, _PAD = 20.0, 16.0, 10.0
_LETTER = 7.2  # the width of one at 12 px, in a font of one width
_LONGEST = 40
_COLOURS = {"input": "#d7ecd9", "operator": "#dce6f5", "output": "#f7e3cf"}
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;text-anchor:middle;fill:#1d2733}"
    ".first{font-weight:bold}rect{stroke:#5b6b7d;rx:5px}"
    "path{fill:none;stroke:#5b6b7d;stroke-width:1.2;marker-end:url(#arrow)}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    kind: str
    lines: Sequence[str]

    @property
    def size(self) -> tuple[float, float]:
        letters = max(map(len, self.lines))
        return letters * _LETTER + 2 * _PAD, len(self.lines) * _LINE + _PAD


def draw_graph(model: onnx.ModelProto) -> str:
    """Return an SVG document; UserError when the graph is too large to be looked at.

    What is inside of operators (the bodies of loops and branches) is not drawn.
    """
    boxes, edges = _boxes(model)
    if len(boxes) > MOST:
        raise UserError(f"graph: expected at most {MOST} operators to draw, got {len(boxes)}")
    layout = lay_out([box.size for box in boxes], edges)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    svg = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        viewBox=f"{-_MARGIN:g} {-_MARGIN:g} {width:.0f} {height:.0f}",
    )
    ET.SubElement(svg, "style").text = _STYLE
    marker = ET.SubElement(ET.SubElement(svg, "defs"), "marker", _ARROW)
    ET.SubElement(marker, "path", d="M0 0 8 4 0 8z", style="fill:#5b6b7d;stroke:none;marker-end:none")
    background = {"x": f"{-_MARGIN:g}", "y": f"{-_MARGIN:g}", "width": "100%", "height": "100%"}
    ET.SubElement(svg, "rect", background, style="fill:#fff;stroke:none")
    for (start, end), points in layout.routes.items():
        ET.SubElement(svg, "path", d=_curve(points, boxes[start].size[1], boxes[end].size[1]))
    for box, (x, y) in zip(boxes, layout.centres, strict=True):
        _draw_box(svg, box, x, y)
    return ET.tostring(svg, encoding="unicode") + "\n"


_ARROW = {"id": "arrow", "markerWidth": "8", "markerHeight": "8", "refX": "7.5", "refY": "4", "orient": "auto"}


def _boxes(model: onnx.ModelProto) -> tuple[list[_Box], list[tuple[int, int]]]:
    """Inputs, operators in their order (which is one that computes), outputs; and the edges between them."""
    graph = model.graph
    weights = {tensor.name: _shape(tensor.dims) for tensor in graph.initializer}
    boxes: list[_Box] = []
    made: dict[str, int] = {}
    edges: dict[tuple[int, int], None] = {}
    for value in inputs_of(model):
        made[value.name] = len(boxes)
        boxes.append(_Box("input", [_cut(value.name), _type(value)]))
    for node in graph.node:
        if node.op_type == "Constant" and not node.input:
            weights[node.output[0]] = ""
            continue
        for name in filter(made.__contains__, node.input):
            edges[made[name], len(boxes)] = None
        made.update(dict.fromkeys(filter(None, node.output), len(boxes)))
        boxes.append(_Box("operator", [operator(node), *_weights_of(node, weights)]))
    for value in graph.output:
        if value.name in made:
            edges[made[value.name], len(boxes)] = None
        boxes.append(_Box("output", [_cut(value.name), _type(value)]))
    return boxes, list(edges)


def _weights_of(node: onnx.NodeProto, weights: Mapping[str, str]) -> list[str]:
    return [_cut(f"{name} {weights[name]}".strip()) for name in node.input if name in weights]


def _type(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return f"{name} {_shape([dim.dim_value or dim.dim_param or '?' for dim in tensor.shape.dim])}"


def _shape(sizes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _cut(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _curve(points: Sequence[tuple[float, float]], from_height: float, to_height: float) -> str:
    """From the lower edge of one box to the upper edge of another, smoothly through the points between."""
    way = [
        (points[0][0], points[0][1] + from_height / 2),
        *points[1:-1],
        (points[-1][0], points[-1][1] - to_height / 2),
    ]
    steps = [f"M{way[0][0]:.1f} {way[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(way):
        middle = (y + to_y) / 2
        steps.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
    return "".join(steps)


def _draw_box(svg: ET.Element, box: _Box, x: float, y: float) -> None:
    width, height = box.size
    place = {
        "x": f"{x - width / 2:.1f}",
        "y": f"{y - height / 2:.1f}",
        "width": f"{width:.1f}",
        "height": f"{height:.1f}",
    }
    ET.SubElement(svg, "rect", place, fill=_COLOURS[box.kind])
    for at, line in enumerate(box.lines):
        baseline = y - height / 2 + _PAD / 2 + (at + 0.75) * _LINE
        text = ET.SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{baseline:.1f}"})
        text.text = line
        if not at:
            text.set("class", "first")
