"""Which models there are, as the ledger tells: found by name, owner, tag or feature, no bundle fetched. Pure."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from protos.ledger import World
from protos.records import Announced, ModelRecord, Share
from protos.traffic import shares_for


@dataclass(frozen=True, slots=True)
class Listed:
    """A model: its newest version that is not retired, what serves where no line with a scope says otherwise.

    `stale`: the newest one is older than it says that it may become.
    """

    name: str
    record: ModelRecord
    newest: Announced
    serving: tuple[Share, ...]
    stale: bool


def list_models(
    world: World,
    *,
    name: str = "",
    owner: str = "",
    tags: Sequence[str] = (),
    features: Sequence[str] = (),
    now_ms: int | None = None,
) -> list[Listed]:
    """Return the models that match all that is given, by name.

    `name`: a part of it; `owner`: a part of it, in whatever case; all of `tags` and `features`. The newest version
    counts. `now_ms`: default: this machine's clock.
    """
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    found = []
    for model, record in sorted(world.models.items()):
        living = [version for version in record.versions if version not in record.retired]
        if not record.versions:
            continue
        newest = record.versions[max(living or record.versions)]
        about = newest.about
        if (
            name in model
            and owner.casefold() in about.owner.casefold()
            and set(tags) <= set(about.tags)
            and set(features) <= set(about.features)
        ):
            age_s = (now - newest.created_at_ms) / 1000
            stale = bool(about.stale_after_s) and age_s > about.stale_after_s
            found.append(Listed(model, record, newest, shares_for(record, {}), stale))
    return found
