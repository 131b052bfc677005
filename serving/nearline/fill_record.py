"""How far the predictions of a version are in one shard, as the store keeps it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgpack

from serving.models.switching import Claim, Fill

Claims = tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class FillRecord:
    """Of one version and shard; or of one bulk load and shard: `total` rows of its file, `left` to be read.

    claims: For which entities. known: it is known who of them is active. total: how many are. left: how many of them
    have no prediction, or one that is due. began_ms: when filling began. scheduled_ms: when all were last made due by
    schedule. stopped_ms: since when the version is not computed any more; 0 = it is.
    """

    claims: Claims
    known: bool
    total: int
    left: int
    began_ms: int
    scheduled_ms: int
    stopped_ms: int = 0

    def encode(self) -> bytes:
        """Return what is stored."""
        fields = [self.claims, self.known, self.total, self.left, self.began_ms, self.scheduled_ms, self.stopped_ms]
        packed: bytes = msgpack.packb(fields)
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "FillRecord":
        """Read back what `encode` wrote."""
        claims, *rest = msgpack.unpackb(data)
        return cls(tuple((first, last) for first, last in claims), *rest)

    def covers(self, claim: Claim) -> bool:
        """Tell whether it is about all the entities of a claim."""
        return any(first <= claim[0] and claim[1] <= last for first, last in self.claims)


def together(records: Mapping[int, FillRecord], shards: int, claim: Claim) -> Fill | None:
    """Add up the records of all shards; None while no shard has begun."""
    fitting = [r for r in records.values() if r.covers(claim) and not r.stopped_ms]
    if not fitting:
        return None
    return Fill(
        known=len(fitting) == shards and all(record.known for record in fitting),
        total=sum(record.total for record in fitting),
        left=sum(record.left for record in fitting),
        began_ms=min(record.began_ms for record in fitting),
    )
