"""What a near-line worker does between batches of events, in bounded bits: due predictions, loads, forgetting."""

from dataclasses import dataclass

from serving.nearline.bulk import BulkLoads
from serving.nearline.due import DueWork
from serving.nearline.filling import Filling
from serving.nearline.forgetting import Forgetting
from serving.nearline.lanes import Lanes
from serving.nearline.live import Live
from serving.nearline.shard import Shards

IDLE_S = 0.2
"""Time of a version in a turn when no events wait."""
_BESIDE = 0.25
"""Time of all this beside events, as a part of the time that those took: live events go first."""


@dataclass(frozen=True, slots=True)
class Turns:
    """One thread."""

    due: DueWork
    filling: Filling
    forgetting: Forgetting
    lanes: Lanes
    bulk: BulkLoads

    def take(self, shards: Shards, live: Live, events_s: float) -> tuple[int, bool]:
        """Do a bit of everything; return how many predictions were written, and whether more waits.

        `events_s`: seconds that were spent on events since the last turn; 0 = there were none.
        """
        share_s = events_s * _BESIDE / max(1, len(live.versions)) if events_s else IDLE_S
        filling = self.filling.turn(shards, live, share_s)
        made = self.due.turn(shards, live, share_s)
        loading = self.bulk.turn(shards, share_s)
        self.forgetting.turn(shards, live)
        waiting = any(version.key in shard.due for shard in shards.values() for version in live.versions)
        return made, filling or loading or (waiting and not self.lanes.busy)

    def leave(self, shard: int) -> None:
        """Forget what was remembered of a shard: it is not ours any more, or somebody else wrote it."""
        self.filling.leave(shard)
        self.lanes.leave(shard)
        self.bulk.leave(shard)
        self.forgetting.restart()
