"""Sketches of a column's values: small, mergeable, and of a known error. The only file that imports datasketches.

What this computes of values depends on nothing but the values (serving/bundles/kll_bytes.py); merging two quantile
sketches that are not small throws the library's coins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import datasketches as ds
import numpy as np
from numpy.typing import NDArray

from serving.bundles.kll_bytes import K, kll_bytes

_LG_FREQUENT = 10
"""768 categories are kept, and no count is further off than 3.5 / 1024 of all."""
_LG_DISTINCT = 11
"""The number of distinct ones within 1.5 % (one standard error)."""
_STANDARD_ERRORS = 3
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Quantiles of numbers."""

    quantiles: ds.kll_doubles_sketch

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Numbers":
        """Sketch the values, [n], without NaN, in any order."""
        if len(values) > K:
            return cls(ds.kll_doubles_sketch.deserialize(kll_bytes(values)))
        sketch = ds.kll_doubles_sketch(K)
        sketch.update(np.sort(values).astype(np.float64) + 0.0)  # without -0.0, which sorts as it came
        return cls(sketch)

    def merged(self, other: "Numbers") -> "Numbers":
        """Return the sketch of both together."""
        sketch = ds.kll_doubles_sketch.deserialize(self.quantiles.serialize())
        sketch.merge(other.quantiles)
        return Numbers(sketch)

    @property
    def count(self) -> int:
        """How many values, exactly."""
        return int(self.quantiles.n)

    @property
    def rank_error(self) -> float:
        """By how much the rank of a quantile may be off, as a part of 1, with a confidence of 99 %."""
        return float(self.quantiles.normalized_rank_error(False))

    def at(self, *ranks: float) -> list[float]:
        """Return the values at ranks from 0 (the smallest, exactly) to 1 (the largest); none of no values."""
        if not self.count:
            return []
        ends = {0.0: self.quantiles.get_min_value(), 1.0: self.quantiles.get_max_value()}
        return [float(ends[rank] if rank in ends else self.quantiles.get_quantile(rank)) for rank in ranks]

    def encode(self) -> dict[str, bytes]:
        """Return its parts as the library writes them."""
        return {"quantiles": self.quantiles.serialize()}

    @classmethod
    def decode(cls, parts: Mapping[str, bytes]) -> "Numbers":
        """Read them back; KeyError, and whatever the library raises for bytes that are no sketch."""
        return cls(ds.kll_doubles_sketch.deserialize(parts["quantiles"]))


@dataclass(frozen=True, slots=True)
class Categories:
    """Which categories are frequent, and how many there are."""

    frequent: ds.frequent_strings_sketch
    different: ds.cpc_sketch

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "Categories":
        """Sketch categories that were counted, in any order."""
        frequent, different = ds.frequent_strings_sketch(_LG_FREQUENT), ds.cpc_sketch(_LG_DISTINCT)
        # The rarest first: what the sketch forgets on the way is then small, and the most frequent are exact.
        for word, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
            frequent.update(word, count)
            different.update(word)
        return cls(frequent, different)

    def merged(self, other: "Categories") -> "Categories":
        """Return the sketch of both together."""
        frequent = ds.frequent_strings_sketch.deserialize(self.frequent.serialize())
        frequent.merge(other.frequent)
        union = ds.cpc_union(_LG_DISTINCT)
        union.update(self.different)
        union.update(other.different)
        return Categories(frequent, union.get_result())

    @property
    def count(self) -> int:
        """How many values, exactly."""
        return int(self.frequent.total_weight)

    @property
    def count_error(self) -> int:
        """By how much a count may be off: the bound that the sketch gives before it has seen anything."""
        return int(self.frequent.get_apriori_error(_LG_FREQUENT, self.count))

    def top(self, most: int) -> list[tuple[str, int]]:
        """Return the most frequent ones, and how often each was there at least."""
        found = self.frequent.get_frequent_items(ds.frequent_items_error_type.NO_FALSE_NEGATIVES)
        counted = [(word, int(at_least)) for word, _, at_least, _ in found]
        return sorted(counted, key=lambda item: (-item[1], item[0]))[:most]

    def bounds(self, word: str) -> tuple[int, int]:
        """Return how often a category was there, at least and at most."""
        return int(self.frequent.get_lower_bound(word)), int(self.frequent.get_upper_bound(word))

    @property
    def distinct(self) -> tuple[float, float, float]:
        """How many different ones: the estimate, and its bounds at three standard errors."""
        sketch = self.different
        return (
            float(sketch.get_estimate()),
            float(sketch.get_lower_bound(_STANDARD_ERRORS)),
            float(sketch.get_upper_bound(_STANDARD_ERRORS)),
        )

    def encode(self) -> dict[str, bytes]:
        """Return its parts as the library writes them."""
        return {"frequent": self.frequent.serialize(), "distinct": self.different.serialize()}

    @classmethod
    def decode(cls, parts: Mapping[str, bytes]) -> "Categories":
        """Read them back; KeyError, and whatever the library raises for bytes that are no sketch."""
        return cls(
            ds.frequent_strings_sketch.deserialize(parts["frequent"]), ds.cpc_sketch.deserialize(parts["distinct"])
        )
