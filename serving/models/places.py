"""Where near-line computation keeps things: names of spaces and rankings of a shard (serving/store/port.py).

    s             entity -> its state (serving/recipes)
    a             ranking of entities, most recently active first
    x             entity -> when it was erased; the ranking of the same name, oldest first
    p<version>    entity -> the version's prediction
    d<version>    ranking of entities whose prediction is due, most urgent first
    f             version -> how far its predictions are (serving/nearline/filling.py)
    b<load>       entity -> a prediction that was computed elsewhere
    l             load -> how far its import is (serving/nearline/bulk.py)

A version is named with its digest, and a load with its file's, since a topic that is created again reuses numbers.
"""

from functools import lru_cache

from protos.records import BulkLoad
from serving.models.loaded import LoadedModel

STATES = b"s"
ACTIVE = b"a"
ERASED = b"x"
FILLS = b"f"
PREDICTIONS = b"p"
DUE = b"d"
BULK = b"b"
LOADS = b"l"

HOUR_MS = 3_600_000
_AGES = 1 << 40


@lru_cache(maxsize=4_096)
def version_key(model: str, version: int, digest: str) -> bytes:
    """Name a version: at most 94 bytes."""
    return b"%s\0%d\0%s" % (model.encode(), version, bytes.fromhex(digest[:16]))


def key_of(loaded: LoadedModel) -> bytes:
    """Name the version that is loaded."""
    return version_key(loaded.model, loaded.version, loaded.digest)


def model_of(key: bytes) -> tuple[str, int]:
    """Return model and version of a version's name, or model and number of a load's."""
    model, version, _ = key.split(b"\0", 2)
    return model.decode(), int(version)


def load_key(model: str, load: BulkLoad) -> bytes:
    """Name a bulk load."""
    return version_key(model, load.number, load.sha256)


def bulk_space(model: str, load: BulkLoad) -> bytes:
    """Name the space of a bulk load's predictions."""
    return BULK + load_key(model, load)


def activity_score(append_ms: int) -> int:
    """Rank in ACTIVE: by the hour, so that an entity that does much is ranked anew once an hour."""
    return _AGES - append_ms // HOUR_MS


def active_since(append_ms: int) -> int:
    """Largest score in ACTIVE of entities that were active at or after that time."""
    return activity_score(append_ms)
