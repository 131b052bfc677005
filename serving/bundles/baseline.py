"""The baseline: what the inputs looked like in training, as baseline.msgpack in a bundle. To compare later data with.

For each attribute a mergeable sketch, and how many values were missing. Parts of the data may be sketched apart, and
merged. Nodes do not read it: it is for people, and for whoever watches drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from protos.nearline.v1 import status_pb2
from serving.bundles.sketches import QUANTILES, Categories, Numbers
from serving.errors import InvalidRequestError, ModelError

FORMAT = 1
TRAINING, SAMPLES = "training data", "samples"
_KINDS: dict[str, type[Numbers] | type[Categories]] = {"numbers": Numbers, "categories": Categories}
_TOP = 10


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of the training data: its values' sketch, and how many values were missing (null, NaN, padding)."""

    sketch: Numbers | Categories
    missing: int = 0

    @property
    def kind(self) -> str:
        """`numbers` or `categories`."""
        return "numbers" if isinstance(self.sketch, Numbers) else "categories"

    @property
    def missing_share(self) -> float:
        """Missing values, as a part of 1 of all."""
        return self.missing / (self.missing + self.sketch.count) if self.missing else 0.0

    def merged(self, other: "Attribute") -> "Attribute":
        """Return both together; TypeError when one is of numbers, and one of categories."""
        match self.sketch, other.sketch:
            case Numbers() as one, Numbers() as two:
                return Attribute(one.merged(two), self.missing + other.missing)
            case Categories() as one, Categories() as two:
                return Attribute(one.merged(two), self.missing + other.missing)
        raise TypeError(f"expected both of one kind, got {self.kind} and {other.kind}")

    def summary(self) -> dict[str, Any]:
        """What it says, for people and programs."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "count": self.sketch.count,
            "missing": self.missing,
            "missing_share": self.missing_share,
        }
        if isinstance(self.sketch, Numbers):
            ranks = zip(QUANTILES, self.sketch.at(*QUANTILES), strict=False)
            return found | {"quantiles": {f"{rank:g}": value for rank, value in ranks}}
        return found | {"distinct": round(self.sketch.distinct[0]), "frequent": dict(self.sketch.top(_TOP))}


@dataclass(frozen=True, slots=True)
class Baseline:
    """`source`: what was sketched, `training data` or only the bundle's `samples`; `rows` of it; attributes by name."""

    source: str
    rows: int
    attributes: Mapping[str, Attribute]

    def encode(self) -> bytes:
        """Return the bytes of baseline.msgpack: the same for the same data."""
        attributes = {
            name: {"kind": one.kind, "missing": one.missing, **one.sketch.encode()}
            for name, one in sorted(self.attributes.items())
        }
        said = {"format": FORMAT, "source": self.source, "rows": self.rows, "attributes": attributes}
        packed: bytes = msgpack.packb(said)
        return packed

    def summary(self) -> dict[str, Any]:
        """What it says, for people and programs."""
        attributes = {name: one.summary() for name, one in self.attributes.items()}
        return {"source": self.source, "rows": self.rows, "attributes": attributes}


def merge(one: Baseline, other: Baseline) -> Baseline:
    """Return the baseline of both data together; InvalidRequestError when they are not of the same attributes."""
    if set(one.attributes) != set(other.attributes):
        raise InvalidRequestError("baseline", f"the attributes {sorted(one.attributes)}", sorted(other.attributes))
    merged = {}
    for name, attribute in one.attributes.items():
        try:
            merged[name] = attribute.merged(other.attributes[name])
        except TypeError as error:
            raise InvalidRequestError(f"baseline.{name}", attribute.kind, other.attributes[name].kind) from error
    return Baseline(SAMPLES if SAMPLES in {one.source, other.source} else TRAINING, one.rows + other.rows, merged)


def read_baseline(data: bytes) -> Baseline:
    """Read baseline.msgpack; ModelError(MANIFEST)."""
    try:
        said = msgpack.unpackb(data)
        if said["format"] != FORMAT:
            raise ValueError(f"format: expected {FORMAT}, got {said['format']}")
        attributes = {
            name: Attribute(_KINDS[one["kind"]].decode(one), int(one["missing"]))
            for name, one in said["attributes"].items()
        }
        return Baseline(str(said["source"]), int(said["rows"]), attributes)
    except Exception as error:
        # The library raises several types without a common one but Exception.
        raise ModelError(status_pb2.MANIFEST, f"baseline.msgpack: {error}", rejected=True) from error
