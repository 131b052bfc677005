"""One figure, as every benchmark ends with: a line of JSON with the ratio to a reference of the same run."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.machine import machine, versions

PACKAGES = ("grpcio", "kafka-python", "lmdb", "msgpack", "numpy", "onnxruntime", "protobuf", "uvloop")


@dataclass(frozen=True, slots=True)
class Result:
    """A target that was measured.

    ratio: value over reference. required: what the ratio, or the value where there is no reference, has to be.
    """

    target: str
    what: str
    value: float
    unit: str
    required: str
    met: bool
    reference: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def show(self) -> None:
        """Print the line, the last thing that a benchmark does."""
        ratio = self.value / self.reference if self.reference else None
        about = {"versions": versions(*PACKAGES), "machine": machine()}
        sys.stdout.write(json.dumps({**asdict(self), "ratio": ratio, **about}) + "\n")


def say(text: str) -> None:
    """Tell what is going on, beside the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
