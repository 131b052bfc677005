"""Item-to-item co-occurrence: each product's most similar products, with numpy.

The similarity of two products is the number of customers who bought both, divided by sqrt(n_i n_j), the customers of
each. The diagonal stays, because people buy again.

Only the best of each product are kept, as item-to-item recommenders do since Deshpande and Karypis (2004), who find
that 10 to 30 suffice. On the Online Retail data 20 answer as well as all 3,624 (month 0.294 both, next event 0.141
to 0.136): the rest is the noise of large baskets.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.purchases import Purchases

MAX_ITEMS = 8192
"""Products that a catalogue holds at most, those with the most customers first. Training counts every pair of them in
one float32 matrix, 256 MiB at most and twice that while it counts; what is kept and served is [items, neighbours]."""

TIE = 2.0**-40
"""Taken off per row of the catalogue, so that a tie goes to the smaller row, as in TopK. MAX_ITEMS of them are less
than the step that similarities are rounded to, and float64 holds both without error."""

_ENTITIES_AT_ONCE = 4096
_ROWS_AT_ONCE = 256
_FLOAT32_DIGITS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Row i: the products most similar to product i, itself included, best first.

    Rows are in descending order of customers, then by id: whatever a short history leaves open goes to the more
    popular product. `rows` int32 and `similarity` float32, both [items, neighbours]; `rows` of one product differ,
    and have similarity 0 where it has fewer neighbours. `customers` int64 [items].
    """

    items: list[str]
    customers: NDArray[np.int64]
    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]


def find_neighbours(purchases: Purchases, *, keep: int, summed: int, damping: float = 0.0) -> Neighbours:
    """Count and normalise; `purchases` has at least one row. `summed`: how many similarities are, at most.

    `damping` stands for that many more customers of every product, who bought nothing else: two products with one
    customer, the same, have similarity 1 without it, on the evidence of a single person.
    """
    pairs = np.unique(purchases.entities.astype(np.int64) * len(purchases.item_ids) + purchases.items)
    entities, items = np.divmod(pairs, len(purchases.item_ids))
    customers = np.bincount(items, minlength=len(purchases.item_ids))
    order = np.lexsort((np.array(purchases.item_ids), -customers))[:MAX_ITEMS]
    order = order[customers[order] > 0]
    row_of = np.full(len(customers), -1)
    row_of[order] = np.arange(len(order))
    listed = row_of[items] >= 0
    similarity = _together(entities[listed], row_of[items[listed]], len(order))
    root = np.sqrt(customers[order] + damping).astype(np.float32)
    similarity /= root
    similarity /= root[:, None]
    _round(similarity, summed)
    rows, best = _best(similarity, min(keep, len(order)))
    return Neighbours([purchases.item_ids[item] for item in order], customers[order], rows, best)


def _together(entities: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Count the customers of each pair of products; float32 is exact up to 2**24 customers.

    `entities` ascend. Dense blocks of entities: a matrix product is faster than any sparse one that numpy could do.
    """
    _, entity = np.unique(entities, return_inverse=True)
    counts = np.zeros((size, size), np.float32)
    for first in range(0, int(entity[-1]) + 1, _ENTITIES_AT_ONCE):
        part = slice(*np.searchsorted(entity, (first, first + _ENTITIES_AT_ONCE)))
        bought = np.zeros((int(entity[part][-1]) - first + 1, size), np.float32)
        bought[entity[part] - first, rows[part]] = 1
        counts += bought.T @ bought
    return counts


def _round(similarity: NDArray[np.float32], summed: int) -> None:
    """Round, in place, so coarsely that a sum of `summed` similarities fits float32 without any error.

    Then the order of summing cannot change an answer: near-line and online, numpy and ONNX Runtime, any batch size
    and any instruction set agree to the bit. 2**-17 for 108.
    """
    step = np.float32(2.0 ** (math.ceil(math.log2(summed)) - _FLOAT32_DIGITS))
    similarity /= step
    np.rint(similarity, out=similarity)
    similarity *= step


def _best(similarity: NDArray[np.float32], keep: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return columns and values of the `keep` largest of each row, best first; a tie goes to the smaller column."""
    size = len(similarity)
    columns = np.empty((size, keep), np.int32)
    for first in range(0, size, _ROWS_AT_ONCE):
        distinct = np.arange(size) * TIE - similarity[first : first + _ROWS_AT_ONCE].astype(np.float64)
        found = np.argpartition(distinct, keep - 1, axis=1)[:, :keep]
        order = np.argsort(np.take_along_axis(distinct, found, 1), axis=1)
        columns[first : first + _ROWS_AT_ONCE] = np.take_along_axis(found, order, 1)
    return columns, np.take_along_axis(similarity, columns, 1)
