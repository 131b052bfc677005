"""What a manifest says of near-line computation: when answers expire, who goes first, when a new version takes over."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.recipes.durations import Duration
from serving.recipes.parse import explain

DAY_S = 86_400
Priority = Annotated[int, Field(ge=0, le=9)]
"""0 goes first, 9 last."""

ORDINARY = 5


class NearlineSettings(BaseModel):
    """Every field has a default that suits a recommender whose recipe looks at the last items only.

    ttl: Age at which a prediction counts as none; required by recipes with windows or ages.
    switch: `on-backfill`: a new version answers `Recommend` once `switch_percent` of the active entities that it
        serves have a prediction by it, or after `switch_wait`; `on-load`: at once.
    priority: Which model is computed first when time is short.
    event_priorities: By type of event; the others are ordinary (5).
    triggers: Types of events that cause a prediction; empty = all of them. The others only update state.
    stored: Items of a prediction that are kept; a request that needs more is computed online. None = all.
    every: Recompute entities that were active within `active_within` so often, beside what their events cause.
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
    active_within: Duration = 30 * DAY_S


def read_nearline(said: NearlineSettings | Mapping[str, Any] | None, root: str = "nearline") -> NearlineSettings:
    """Check what somebody wrote; InvalidRequestError names the field below `root`, expected and actual."""
    try:
        return NearlineSettings.model_validate(said if said is not None else {})
    except ValidationError as error:
        raise explain(error, root) from None
