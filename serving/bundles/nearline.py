"""What a manifest says of near-line computation: when answers expire, who goes first, when a new version takes over."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.recipes.durations import Duration
from serving.recipes.parse import explain

DAY_S = 86_400
DAY_MS = DAY_S * 1000
Priority = Annotated[int, Field(ge=0, le=9)]
"""0 goes first, 9 last."""

ORDINARY = 5


class NearlineSettings(BaseModel):
    """Every field has a default that suits a recommender whose recipe looks at the last items only.

    ttl: Age at which a prediction counts as none; required by recipes with windows or ages.
    switch: `on-backfill`: a new version answers `Recommend` once `switch_percent` of the active entities that it
        serves have a prediction by it, or after `switch_wait`; `on-load`: at once.
    priority: Who is computed first when time is short, and gets more of it: 0 twice an ordinary share, 9 a fifth.
    event_priorities: By type of event; the others are ordinary (5).
    triggers: Types of events that cause a prediction; empty = all of them. The others only update state.
    stored: Items of a prediction that are kept; a request that needs more is computed online. None = all.
    every: Recompute active entities so often, beside what their events cause; at least 1 s.
    at: Recompute them once a day at this time (`03:30`, UTC); instead of `every`.
    active_within: An entity is active for so long after its last event: it is backfilled and recomputed by schedule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl: Duration | None = None
    switch: Literal["on-backfill", "on-load"] = "on-backfill"
    switch_percent: float = Field(default=90.0, gt=0, le=100)
    switch_wait: Duration = 600
    priority: Priority = ORDINARY
    event_priorities: dict[str, Priority] = Field(default_factory=dict)
    triggers: tuple[str, ...] = ()
    stored: int | None = Field(default=None, ge=1)
    every: Duration | None = None
    at: str | None = Field(default=None, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    active_within: Duration = 30 * DAY_S

    @model_validator(mode="after")
    def _one_schedule(self) -> "NearlineSettings":
        if self.every is not None and self.at is not None:
            raise ValueError("at: expected either `every` or `at`, got both")
        return self

    def is_due(self, last_ms: int, now_ms: int) -> bool:
        """Tell whether entities are to be recomputed again, which was done at `last_ms` last."""
        if self.every is not None:
            return now_ms - last_ms >= self.every * 1000
        if self.at is None:
            return False
        hours, minutes = self.at.split(":")
        offset_ms = (int(hours) * 60 + int(minutes)) * 60_000
        newest = (now_ms - offset_ms) // DAY_MS * DAY_MS + offset_ms
        return last_ms < newest <= now_ms


def read_nearline(said: NearlineSettings | Mapping[str, Any] | None, root: str = "nearline") -> NearlineSettings:
    """Check what somebody wrote; InvalidRequestError names the field below `root`, expected and actual."""
    try:
        return NearlineSettings.model_validate(said if said is not None else {})
    except ValidationError as error:
        raise explain(error, root) from None
