"""The demo's model: item-to-item co-occurrence, trained with numpy.

The similarity of two products is the number of customers who bought both, divided by sqrt(n_i n_j), the customers of
each. The diagonal (1) stays, because people buy again. An entity's scores are the sum over its last `n` purchases; one
that was bought twice counts twice.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.purchases import Purchases
from serving.errors import UserError

MAX_ITEMS = 8192
"""Products that a catalogue holds at most, those with the most customers first: the matrix then has 256 MiB."""

_BLOCK = 4096
_FLOAT32_DIGITS = 24


@dataclass(frozen=True, slots=True, eq=False)
class ItemToItem:
    """A trained model.

    Rows are in descending order of customers, then by id: TopK prefers the smaller row where scores are equal, so
    that ties, and whatever a short history leaves open, go to the more popular product.

    `similarity`: float32 [rows, rows]. `customers`: int64 [rows]. `n`: purchases that a history holds; `k`: products
    of an answer.
    """

    ids: list[str]
    customers: NDArray[np.int64]
    similarity: NDArray[np.float32]
    n: int
    k: int

    @property
    def popular(self) -> list[int]:
        """Rows of the `k` products with the most customers."""
        return list(range(self.k))

    def rows_of(self, purchases: Purchases) -> NDArray[np.int64]:
        """Return the catalogue's row of each of `purchases.item_ids`, -1 for a product that training did not see."""
        rows = {item: row for row, item in enumerate(self.ids)}
        return np.array([rows.get(item, -1) for item in purchases.item_ids], np.int64)


def train(purchases: Purchases, n: int = 50, k: int = 20) -> ItemToItem:
    """Train on all the purchases given; UserError where there are none."""
    if not len(purchases):
        raise UserError("training: expected purchases before the evaluated month, got none")
    pairs = np.unique(purchases.entities.astype(np.int64) * len(purchases.item_ids) + purchases.items)
    entities, items = np.divmod(pairs, len(purchases.item_ids))
    customers = np.bincount(items, minlength=len(purchases.item_ids))
    order = np.lexsort((np.array(purchases.item_ids), -customers))[:MAX_ITEMS]
    order = order[customers[order] > 0]
    row_of = np.full(len(customers), -1)
    row_of[order] = np.arange(len(order))
    listed = row_of[items] >= 0
    together = _together(entities[listed], row_of[items[listed]], len(order))
    return ItemToItem(
        ids=[purchases.item_ids[item] for item in order],
        customers=customers[order],
        similarity=_rounded(_normalised(together), n),
        n=n,
        k=min(k, len(order)),
    )


def _together(entities: NDArray[np.int64], rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Count the customers of each pair of products; float32 is exact up to 2**24 customers.

    `entities` ascend. Dense blocks of entities: a matrix product is faster than any sparse one that numpy could do.
    """
    _, entity = np.unique(entities, return_inverse=True)
    counts = np.zeros((size, size), np.float32)
    for first in range(0, int(entity[-1]) + 1, _BLOCK):
        part = slice(*np.searchsorted(entity, (first, first + _BLOCK)))
        bought = np.zeros((int(entity[part][-1]) - first + 1, size), np.float32)
        bought[entity[part] - first, rows[part]] = 1
        counts += bought.T @ bought
    return counts


def _normalised(together: NDArray[np.float32]) -> NDArray[np.float32]:
    root = np.sqrt(np.diag(together))
    together /= root
    together /= root[:, None]
    return together


def _rounded(similarity: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Round so coarsely that a sum of `n` similarities fits float32 without any error.

    Then the order of summing cannot change an answer: near-line and online, numpy and ONNX Runtime, any batch size
    and any instruction set agree to the bit. 2**-18 for n = 50.
    """
    step = 2.0 ** (math.ceil(math.log2(n)) - _FLOAT32_DIGITS)
    similarity /= step
    np.rint(similarity, out=similarity)
    similarity *= step
    return similarity
