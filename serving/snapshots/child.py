"""Entry of the process that a supervisor starts: `python -m serving.snapshots.child take|restore SECONDS`.

Settings come as a line of JSON on standard input; when that ends, the supervisor is gone, and so go we.
`take`: unless any node has taken one within SECONDS. `restore`: trying for SECONDS while something is away.
"""

import os
import sys
import threading
import time

import psutil
import structlog

from serving.errors import NearlineError, UnavailableError
from serving.settings import Settings
from serving.snapshots.restore import restore
from serving.snapshots.take import take, taken_within
from serving.telemetry.logs import configure_logs

log = structlog.get_logger()

_PAUSE_S = 0.5
_NICE = 10


def _take(settings: Settings, seconds: float) -> None:
    _yield_to_others()
    found = taken_within(settings, seconds)
    if found is not None:
        log.info("snapshot.skipped", newest=found.name, node_of_newest=found.node)
        return
    began = time.monotonic()
    taken = take(settings)
    took_s = round(time.monotonic() - began, 2)
    log.info("snapshot.taken", snapshot=taken.name, shards=len(taken.shards), bytes=taken.size, seconds=took_s)


def _restore(settings: Settings, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            restored = restore(settings)
            break
        except UnavailableError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("snapshot.waiting", error=str(error))
            time.sleep(_PAUSE_S)
    if restored is None:
        log.info("snapshot.none", action="going on with what is there")
        return
    manifest = restored.manifest
    log.info(
        "snapshot.restored", snapshot=manifest.name, from_node=manifest.node, created_ms=manifest.created_ms,
        passed_over=restored.passed_over, bytes=manifest.size, seconds=round(restored.seconds, 2),
        events=manifest.positions(manifest.events), commands=manifest.positions(manifest.commands),
    )  # fmt: skip


def _yield_to_others() -> None:
    """Requests and events come first, on the processor and, where the system has it, on the disk."""
    os.nice(_NICE)
    if psutil.LINUX:
        psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, 7)


def _follow_supervisor() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Do it once."""
    what, seconds = sys.argv[1], float(sys.argv[2])
    settings = Settings.model_validate_json(sys.stdin.readline())
    configure_logs(settings.log_format, settings.log_level, node=settings.node, worker="snapshot")
    threading.Thread(target=_follow_supervisor, daemon=True).start()
    try:
        if what == "take":
            _take(settings, seconds)
        else:
            _restore(settings, seconds)
    except NearlineError as error:
        failed = "snapshot.failed" if what == "take" else "snapshot.unrestored"
        log.error(failed, error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
