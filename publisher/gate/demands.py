"""What a publisher demands of a bundle beside that it works."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real

from serving.bundles.about import Limits
from serving.bundles.bundle import Bundle
from serving.bundles.session import ModelSession
from serving.errors import InvalidRequestError

Metrics = Mapping[str, float]
Hook = Callable[[Bundle, ModelSession], Metrics]
"""Computes metrics of the bundle that is about to be announced, in the publisher's own process."""

_REQUIREMENT = re.compile(r"\s*(?P<metric>[^\s<>=]+)\s*(?P<compare>>=|<=|>|<|==)\s*(?P<bound>\S+)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound of a metric: `recall@20>=0.3`."""

    metric: str
    compare: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Read one; InvalidRequestError."""
        found = _REQUIREMENT.fullmatch(text)
        bound = _number(found["bound"]) if found else None
        if found is None or bound is None:
            raise InvalidRequestError("require", "METRIC, one of >= <= > < ==, and a number", repr(text))
        return cls(found["metric"], found["compare"], bound)

    def met(self, value: float) -> bool:
        """NaN meets nothing."""
        return _COMPARE[self.compare](value, self.bound)

    def __str__(self) -> str:
        return f"{self.compare} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Demands:
    """The settings of a gate.

    latency_ms: the median of a run may take so many milliseconds, by rows. memory_bytes: the process of the trial may
    have so many resident. require: bounds of metrics, such as `recall@20>=0.3`. metrics: as computed elsewhere.
    hook: computes more of them. breaking: another signature than that of the version before is meant.
    """

    latency_ms: Mapping[int, float] = field(default_factory=dict)
    memory_bytes: int | None = None
    require: tuple[str, ...] = ()
    metrics: Metrics = field(default_factory=dict)
    hook: Hook | None = None
    breaking: bool = False

    def __post_init__(self) -> None:
        for rows, most in self.latency_ms.items():
            if rows < 1 or not 0 < most < math.inf:
                raise InvalidRequestError("latency budget", "rows above 0 and milliseconds above 0", f"{rows}={most:g}")
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InvalidRequestError("memory budget", "more than 0 bytes", self.memory_bytes)
        _ = self.requirements

    def completed(self, limits: Limits) -> "Demands":
        """Return these, with the budgets of the manifest where these have none."""
        return replace(
            self,
            latency_ms={**limits.latency_ms, **self.latency_ms},
            memory_bytes=limits.resident_bytes if self.memory_bytes is None else self.memory_bytes,
        )

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """The bounds, read; InvalidRequestError."""
        return tuple(Requirement.parse(text) for text in self.require)


def read_metrics(what: str, metrics: Mapping[str, object]) -> dict[str, float]:
    """Return plain numbers; InvalidRequestError. Those of numpy and the like are numbers, too; True is none."""
    found = {}
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidRequestError(f"{what} {name}", "a number", " ".join(repr(value).split()))
        found[str(name)] = float(value)
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
