"""A layered layout of a directed graph without cycles: sources on top, edges downwards, few of them crossing. Pure.

Sugiyama's method in its plainest form: longest paths give the layers, an edge over several layers gets a place in each
of them, barycentres order the places, and each moves towards its neighbours as far as the order allows. (The programs
that do it best, such as Graphviz, are no Python packages.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_X, GAP_Y = 24.0, 46.0
_BEND_WIDTH = 8.0
_ROUNDS = 8

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """`centres` of the nodes, and for each edge the points that it runs through, both ends included."""

    centres: Sequence[tuple[float, float]]
    routes: Mapping[Edge, Sequence[tuple[float, float]]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[Edge]) -> Layout:
    """Place boxes of the given widths and heights; every edge goes from a lower to a higher number."""
    levels = _levels(len(sizes), edges)
    widths = [width for width, _ in sizes]
    layers: list[list[int]] = [[] for _ in range(max(levels, default=0) + 1)]
    for node, level in enumerate(levels):
        layers[level].append(node)
    chains: dict[Edge, list[int]] = {}
    for start, end in edges:
        bends = []
        for level in range(levels[start] + 1, levels[end]):
            bends.append(len(widths))
            layers[level].append(len(widths))
            widths.append(_BEND_WIDTH)
        chains[start, end] = [start, *bends, end]
    above, below = _neighbours(len(widths), chains)
    for turn in range(_ROUNDS):
        down = turn % 2 == 0
        for layer in layers if down else reversed(layers):
            _order(layer, layers, above if down else below)
    xs = _across(layers, widths, above, below)
    tops, y = [], 0.0
    for layer in layers:
        tall = max((sizes[node][1] for node in layer if node < len(sizes)), default=0.0)
        tops.append(y + tall / 2)
        y += tall + GAP_Y
    at = {node: (xs[node], tops[level]) for level, layer in enumerate(layers) for node in layer}
    routes = {edge: [at[node] for node in chain] for edge, chain in chains.items()}
    right = max((xs[node] + width / 2 for node, width in enumerate(widths)), default=0.0)
    return Layout([at[node] for node in range(len(sizes))], routes, right, max(0.0, y - GAP_Y))


def _levels(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest way from a source; sources stand right above what they feed."""
    levels = [0] * count
    for start, end in sorted(edges, key=lambda edge: edge[0]):
        levels[end] = max(levels[end], levels[start] + 1)
    fed = {end for _, end in edges}
    nearest: dict[int, int] = {}
    for start, end in edges:
        nearest[start] = min(levels[end], nearest.get(start, levels[end]))
    return [nearest[node] - 1 if node not in fed and node in nearest else level for node, level in enumerate(levels)]


def _neighbours(count: int, chains: Mapping[Edge, Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _order(layer: list[int], layers: Sequence[Sequence[int]], beside: Sequence[Sequence[int]]) -> None:
    """Sort a layer by where the neighbours on one side stand; whoever has none keeps its place."""
    place = {node: at / max(1, len(one) - 1) for one in layers for at, node in enumerate(one)}
    wish = {
        node: sum(place[other] for other in beside[node]) / len(beside[node]) if beside[node] else place[node]
        for node in layer
    }
    layer.sort(key=wish.__getitem__)


def _across(
    layers: Sequence[Sequence[int]],
    widths: Sequence[float],
    above: Sequence[Sequence[int]],
    below: Sequence[Sequence[int]],
) -> list[float]:
    xs = [0.0] * len(widths)
    for layer in layers:
        _push_apart(layer, widths, xs, [0.0] * len(layer))
    for turn in range(2 * _ROUNDS):
        down = turn % 2 == 0
        for layer in layers if down else reversed(layers):
            beside = above if down else below
            wishes = [
                sum(xs[other] for other in beside[node]) / len(beside[node]) if beside[node] else xs[node]
                for node in layer
            ]
            _push_apart(layer, widths, xs, wishes)
    left = min((x - width / 2 for x, width in zip(xs, widths, strict=True)), default=0.0)
    return [x - left for x in xs]


def _push_apart(layer: Sequence[int], widths: Sequence[float], xs: list[float], wishes: Sequence[float]) -> None:
    """Give every node its wish as nearly as the order and the gaps allow: from the left, from the right, the mean."""
    ahead: list[float] = []
    for at, node in enumerate(layer):
        least = ahead[-1] + (widths[layer[at - 1]] + widths[node]) / 2 + GAP_X if ahead else wishes[0]
        ahead.append(max(wishes[at], least))
    back = [0.0] * len(layer)
    for at in range(len(layer) - 1, -1, -1):
        node = layer[at]
        last = at == len(layer) - 1
        most = wishes[at] if last else back[at + 1] - (widths[layer[at + 1]] + widths[node]) / 2 - GAP_X
        back[at] = min(wishes[at], most)
    for at, node in enumerate(layer):
        xs[node] = (ahead[at] + back[at]) / 2
