"""Reads the ledger once more from its start, because other keys are trusted than when it was folded last."""

import threading

import structlog

from protos.judging import Judge, Outcome
from protos.ledger import World
from serving.bus.port import Bus
from serving.subscriptions.checkpoint import CheckpointFile
from serving.subscriptions.faults import Faults

log = structlog.get_logger()

_POLL_S = 0.2


def renew(
    bus: Bus,
    topic: str,
    identity: str,
    end: int,
    outdated: CheckpointFile,
    judge: Judge,
    faults: Faults,
    stopping: threading.Event,
) -> tuple[CheckpointFile, World]:
    """Return checkpoint and world as a node has them that never folded anything under other keys.

    Until it returns nothing of it is seen: half a fold would lift what was blocked, and serve what was rolled back.
    """
    log.info("ledger.renewal", topic=topic, end=end, reason="other keys are trusted than before")
    checkpoint, world = outdated.renewed(identity)
    world.judge = judge
    reader = bus.reader(topic, {0: 0})
    try:
        while reader.position(0) < end and not stopping.is_set():
            for batch in reader.poll(_POLL_S):
                for record in batch.records:
                    verdict = world.apply(record.offset, record.key, record.value)
                    if verdict.outcome is Outcome.ACCEPTED:
                        checkpoint.accept(record.offset, record.value or b"")
                    faults.judged(record.offset, verdict)
    finally:
        reader.close()
    return checkpoint, world
