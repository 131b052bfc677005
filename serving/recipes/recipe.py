"""Feature recipes: for each input of a model, how it comes from an entity's events. Pure.

One definition, checked when publishing against the graph's inputs, and computed by near-line and online alike.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LastN(BaseModel):
    """The entity's last `n` items, oldest first, as rows of the catalogue; unused places on the left hold `pad`.

    int64 (or int32), shape [batch, n]. Items that the catalogue does not know are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["last_n"] = "last_n"
    # Together with an entity's id in a key of the store, which must not be longer than 511 bytes.
    field: str = Field(default="item", min_length=1, max_length=60, pattern=r"^[^\x00]+$")
    n: int = Field(ge=1, le=1000)
    pad: int = -1


Recipe = dict[str, LastN]
"""By the name of the model's input."""
