"""The embedded bus's LMDB environment, as all of its parts open it."""

from pathlib import Path

from serving.environments import EnvironmentLease
from serving.errors import BusUnavailableError

TOPICS, RECORDS, ENDS, NEWEST, GROUPS = b"topics", b"records", b"ends", b"newest", b"groups"


def open_files(path: Path) -> EnvironmentLease:
    """Open, or share what this process has open."""
    return EnvironmentLease(path, BusUnavailableError, (TOPICS, RECORDS, ENDS, NEWEST, GROUPS))
