"""Values stand behind their CRC-32C in every store, so that a damaged one counts as none."""

from functools import lru_cache
from struct import Struct

import structlog
from crc32c import crc32c

log = structlog.get_logger()

_SUM = Struct(">I")
_TOLD = 1024


def wrapped(value: bytes) -> bytes:
    """Return what is stored of a value."""
    return _SUM.pack(crc32c(value)) + value


def unwrapped(key: bytes, stored: bytes | None) -> bytes | None:
    """Return the value, None when there is none or it is damaged; the latter is logged once a key."""
    if stored is None:
        return None
    value = stored[_SUM.size :]
    if len(stored) < _SUM.size or crc32c(value) != _SUM.unpack_from(stored)[0]:
        _tell(key)
        return None
    return value


def is_of_another_type(key: bytes, error: Exception) -> bool:
    """Tell whether a Redis refused because a key is of another type than ours are: damaged, too; logged once a key."""
    if not str(error).startswith("WRONGTYPE"):
        return False
    _tell(key)
    return True


@lru_cache(maxsize=_TOLD)
def _tell(key: bytes) -> None:
    """Log; cached, since a damaged entry may be asked for thousands of times a second."""
    log.error("store.damaged", key=repr(key), action="treated as missing")
