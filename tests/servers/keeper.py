"""Ends a server when the process that it was started for is gone, however that one ended.

python keeper.py OWNER OWNER_CREATED CHILD CHILD_CREATED

Process ids come with their creation times, since ids are used again.
"""

import sys
import time

import psutil

_LOOK_S = 0.25
_GRACE_S = 5.0


def _running(pid: int, created: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        alive = abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def main(owner: int, owner_created: float, child: int, child_created: float) -> None:
    """Look until one of the two is gone."""
    while (process := _running(child, child_created)) is not None:
        if _running(owner, owner_created) is None:
            try:
                process.terminate()
                process.wait(_GRACE_S)
            except psutil.TimeoutExpired:
                process.kill()
            except psutil.NoSuchProcess:
                pass
            return
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
