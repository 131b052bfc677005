"""The baseline: what the inputs looked like in training, as baseline.msgpack in a bundle. To compare later data with.

For each attribute a mergeable sketch, and how many values were missing. Parts of the data may be sketched apart, and
merged. Nodes do not read it: it is for people, and for whoever watches drift.

The library that reads sketches is not made for bytes from a stranger: some make it loop for ever, or crash. So the file
says in plain values, too, what the sketches say, and whoever only looks reads those (`read_summary`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgpack
from pydantic import BaseModel, ConfigDict, Field

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
            name: {"summary": one.summary(), "sketch": one.sketch.encode()}
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


class AttributeSummary(BaseModel):
    """What an attribute says in plain values: of numbers the quantiles by rank, of categories the most frequent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["numbers", "categories"]
    count: int = Field(ge=0)
    missing: int = Field(ge=0)
    missing_share: float = Field(ge=0, le=1)
    quantiles: dict[str, float] = Field(default_factory=dict)
    distinct: int = Field(default=0, ge=0)
    frequent: dict[str, int] = Field(default_factory=dict)


class Summary(BaseModel):
    """What a baseline says in plain values."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1]
    source: str
    rows: int = Field(ge=0)
    attributes: dict[str, dict[Literal["summary", "sketch"], Any]]


def read_summary(data: bytes) -> dict[str, Any]:
    """Read what baseline.msgpack says in plain values; its sketches are not looked at. ModelError(MANIFEST)."""
    try:
        said = Summary.model_validate(msgpack.unpackb(data))
        attributes = {
            name: AttributeSummary.model_validate(one.get("summary")).model_dump(exclude_unset=True)
            for name, one in said.attributes.items()
        }
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise ModelError(status_pb2.MANIFEST, f"baseline.msgpack: {_line(error)}", rejected=True) from error
    return {"source": said.source, "rows": said.rows, "attributes": attributes}


def read_baseline(data: bytes) -> Baseline:
    """Read baseline.msgpack, sketches and all, of a bundle whose publisher you trust; ModelError(MANIFEST)."""
    said = read_summary(data)
    stored = msgpack.unpackb(data)["attributes"]
    try:
        attributes = {
            name: Attribute(_KINDS[one["kind"]].decode(stored[name]["sketch"]), one["missing"])
            for name, one in said["attributes"].items()
        }
    except Exception as error:
        # The library raises several types without a common one but Exception.
        raise ModelError(status_pb2.MANIFEST, f"baseline.msgpack: {_line(error)}", rejected=True) from error
    return Baseline(said["source"], said["rows"], attributes)


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
