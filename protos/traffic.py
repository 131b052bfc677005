"""Which versions of a model serve, and which of them an entity gets: pure functions of the folded ledger.

Serving workers, near-line workers and the publisher all ask here, so that they cannot disagree.
"""

from collections.abc import Mapping

from protos.partition import murmur2
from protos.records import MILLION, Line, ModelRecord, Share


def eligible(record: ModelRecord) -> list[int]:
    """Versions that may serve without being named by a rollout: neither held nor retired; newest first."""
    return sorted(
        (v for v, known in record.versions.items() if not known.held and v not in record.retired),
        reverse=True,
    )


def released(record: ModelRecord) -> list[int]:
    """Versions that may serve once others cannot: `eligible`, and held ones that a rollout has named; newest first."""
    return sorted(
        (
            v
            for v, known in record.versions.items()
            if v not in record.retired and (not known.held or v in record.named)
        ),
        reverse=True,
    )


def prepared(record: ModelRecord) -> int | None:
    """The version that is loaded and warm on every node ahead of its traffic: the newest, while it is held.

    A rollout that names it for some scopes only leaves it prepared on the other nodes, so that it can be extended to
    them; once no line gives it traffic any more, it was taken back, and is not prepared again.
    """
    newest = max(record.versions.keys() - record.retired, default=None)
    if newest is None or not record.versions[newest].held:
        return None
    rolled_out = any(share.version == newest for line in record.lines for share in line.shares)
    return newest if rolled_out or newest not in record.named else None


def line_for(record: ModelRecord, labels: Mapping[str, str]) -> Line | None:
    """The rollout's line that holds on a node: of those whose scope matches, the one with most labels."""
    matching = [line for line in record.lines if line.scope.items() <= labels.items()]
    return max(matching, key=lambda line: len(line.scope), default=None)


def shares_for(record: ModelRecord, labels: Mapping[str, str]) -> tuple[Share, ...]:
    """What should serve on a node; weights sum to a million. Empty when nothing may serve.

    A retired version's share goes to the last one of the line, and without any left, to the newest of `released`.
    Without a line the newest of `eligible` serves; a held one that a rollout has named does only when there is none,
    and no line of another scope says where it is to serve.
    """
    line = line_for(record, labels)
    left = [share for share in line.shares if share.version not in record.retired] if line else []
    if left:
        lost = MILLION - sum(share.weight_ppm for share in left)
        return (*left[:-1], Share(left[-1].version, left[-1].weight_ppm + lost))
    everywhere = [] if record.lines else released(record)
    able = released(record) if line else eligible(record) or everywhere
    newest = next(iter(able), None)
    return (Share(newest, MILLION),) if newest else ()


def fallbacks(record: ModelRecord, version: int) -> list[int]:
    """What a node that cannot load `version` tries instead: lower ones of `released`, newest first."""
    return [v for v in released(record) if v < version]


def ranges(shares: tuple[Share, ...]) -> dict[int, tuple[int, int]]:
    """By version, the buckets [first, last) out of a million whose entities it gets."""
    found = {}
    first = 0
    for share in shares:
        found[share.version] = (first, first + share.weight_ppm)
        first += share.weight_ppm
    return found


def bucket_of(model: str, entity: bytes) -> int:
    """The bucket of an entity, 0 to 999,999; another one for each model."""
    return murmur2(model.encode() + b"\0" + entity) % MILLION


def version_for(shares: tuple[Share, ...], model: str, entity: bytes) -> int:
    """The version that an entity gets.

    Sticky: the first share covers the lowest buckets, so that widening it moves entities to it and none away.
    """
    if len(shares) == 1:
        return shares[0].version
    bucket = bucket_of(model, entity)
    for share in shares:
        if bucket < share.weight_ppm:
            return share.version
        bucket -= share.weight_ppm
    return shares[-1].version
