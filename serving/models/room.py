"""Whether unloading the versions that another one replaces gives it the memory that it lacks. Pure."""

from collections.abc import Mapping, Sequence

from protos.records import ModelRecord
from protos.traffic import prepared, shares_for
from serving.models.policy import Audience


def replaced(record: ModelRecord, audiences: Sequence[Audience], version: int, loaded: Mapping[int, int]) -> list[int]:
    """Return the loaded versions (and bytes that they take) that `version` replaces: nobody is to get them any more.

    Nothing makes room for a version that is only loaded ahead, or for one that is to serve beside others.
    """
    wanted = {share.version for who in audiences for share in shares_for(record, dict(who))}
    if version not in wanted:
        return []
    return [other for other in loaded if other not in wanted and other != prepared(record)]
