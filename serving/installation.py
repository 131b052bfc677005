"""Which installation a data directory belongs to: a random id, made at the first start and kept there.

A node's name can be given twice by mistake; this id cannot, and outlives every process of the node.
"""

import os
import uuid
from pathlib import Path

_FILE = "installation"
_HEX = 32


def installation_id(data_dir: Path) -> str:
    """Return the id, made now if there is none. OSError when it cannot be written.

    The supervisor asks first, under its lock, so that no two processes make one at once.
    """
    path = data_dir / _FILE
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        known = ""
    if len(known) == _HEX:
        return known
    made = uuid.uuid4().hex
    part = path.with_name(f"{_FILE}.part-{os.getpid()}")
    with part.open("w", encoding="ascii") as file:
        file.write(f"{made}\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return made
