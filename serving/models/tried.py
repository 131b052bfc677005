"""One trial a node and digest: the first worker that gets there tries, the others wait for what it found."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from serving.bundles.budgets import check_budgets
from serving.bundles.bundle import Bundle
from serving.bundles.trial import TrialAbandonedError, try_bundle
from serving.errors import ModelError
from serving.models.lifecycle import NotWantedError
from serving.models.verdicts import Verdicts

log = structlog.get_logger()


class Trials:
    """As this node's settings have them; `helper` makes them fast."""

    def __init__(
        self, verdicts: Verdicts, timeout_s: float, memory_bytes: int, helper: socket.socket | None = None
    ) -> None:
        self._verdicts = verdicts
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._helper = helper

    def private_bytes(self, digest: str, retrial: int, bundle: Bundle, wanted: Callable[[], bool]) -> int:
        """Return the private bytes that a bundle takes, by its trial; ModelError when it does not pass.

        NotWantedError once it is not `wanted` any more.
        """
        with self._verdicts.lock(digest):
            if (known := self._verdicts.passed(digest, retrial)) is not None:
                return known
            limits = bundle.manifest.limits
            bounds = limits.trial(self._timeout_s, self._memory_bytes)
            try:
                report = try_bundle(
                    bundle.folder, *bounds, wanted, batches=tuple(limits.latency_ms), helper=self._helper
                )
                check_budgets(report, limits)
            except TrialAbandonedError:
                raise NotWantedError from None
            except ModelError as error:
                if error.rejected:
                    with _as_far_as_there_is_room(digest):
                        self._verdicts.record_refusal(digest, retrial, error)
                raise
            with _as_far_as_there_is_room(digest):
                self._verdicts.record_pass(digest, report.private_bytes)
            return report.private_bytes


@contextmanager
def _as_far_as_there_is_room(digest: str) -> Iterator[None]:
    """What a trial found holds for this load, though nobody may remember it: then the next one tries again."""
    try:
        yield
    except OSError as error:
        log.error("verdict.unwritable", digest=digest, error=str(error))
