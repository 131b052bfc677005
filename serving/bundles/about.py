"""What a manifest says of a model beside its signature: whose it is, how it is found, its limits and its lineage."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from serving.bundles.lineage import Lineage
from serving.errors import InvalidRequestError
from serving.recipes.durations import Duration
from serving.recipes.parse import explain

MAX_TAGS = 50
Tag = Annotated[str, Field(pattern=r"^[^\s,=][^\s,]{0,99}$")]

Rows = Annotated[int, Field(ge=1, le=4096)]
"""A node runs so many at once, whoever says it."""
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """What the model may take; a node's own settings can only be stricter.

    memory_bytes: Memory beside the bundle's own size, in its trial (as NEARLINE_TRIAL_MEMORY_BYTES).
    trial_s: Seconds that the trial may last (as NEARLINE_TRIAL_TIMEOUT_S).
    resident_bytes: Memory that the trial's process may have resident, the runtime included (as --memory-budget).
    latency_ms: Milliseconds that the median of a run may take, by rows (as --latency-budget); a number alone: of 1 row.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    memory_bytes: int | None = Field(default=None, ge=1)
    trial_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    resident_bytes: int | None = Field(default=None, ge=1)
    latency_ms: Annotated[dict[Rows, Milliseconds], Field(max_length=16)] = Field(default_factory=dict)

    @field_validator("latency_ms", mode="before")
    @classmethod
    def _of_one_row(cls, said: Any) -> Any:
        return {1: said} if isinstance(said, int | float) and not isinstance(said, bool) else said

    @field_validator("latency_ms", mode="after")
    @classmethod
    def _by_rows(cls, budgets: dict[int, float]) -> dict[int, float]:
        return dict(sorted(budgets.items()))  # the same limits give the same bundle

    def trial(self, timeout_s: float, memory_bytes: int) -> tuple[float, int]:
        """Return the stricter of these limits and those given: seconds and bytes."""
        return min(timeout_s, self.trial_s or timeout_s), min(memory_bytes, self.memory_bytes or memory_bytes)


class About(BaseModel):
    """All of it may be left out.

    owner: Who answers for the model: a team, an address.
    description: For people.
    tags: Words to find it by, without spaces or commas; kept in order and once.
    limits: What it may take.
    stale_after: Age at which a newer version is expected; `nearline models` says so.
    lineage: Where it comes from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: Annotated[str, Field(max_length=200)] = ""
    description: Annotated[str, Field(max_length=10_000)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)] = ()
    limits: Limits = Field(default_factory=Limits)
    stale_after: Duration | None = None
    lineage: Lineage = Field(default_factory=Lineage)

    @field_validator("tags", mode="after")
    @classmethod
    def _ordered(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(tags)))


def read_about(said: Mapping[str, Any], root: str = "") -> About:
    """Check what somebody wrote: unlike in a manifest, an unknown field is a mistake. InvalidRequestError names it."""
    try:
        return About.model_validate(dict(said), extra="forbid")
    except ValidationError as error:
        raise explain(error, root) from None
    except RecursionError:  # a YAML alias can hold itself
        raise InvalidRequestError(root or "manifest", "a map", "one that holds itself") from None


def read_lineage(said: Lineage | Mapping[str, Any] | None, root: str = "lineage") -> Lineage:
    """Check what somebody wrote of a lineage; InvalidRequestError names the field below `root`."""
    try:
        return Lineage.model_validate(said if said is not None else {}, extra="forbid")
    except ValidationError as error:
        raise explain(error, root) from None
