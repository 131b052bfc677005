"""A version that is in memory, and the leases that keep it there.

A request holds a lease on the version that it started with. Taking a version away means: no new leases, then wait
for the last one, then free, on the deployer's thread and never on a request's.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.bundles.bundle import Bundle
from serving.bundles.session import ModelSession
from serving.models.circuit import Circuit, Tolerance
from serving.models.predictor import Predictor
from serving.models.seen import Seen


@dataclass(eq=False, slots=True, weakref_slot=True)
class LoadedModel:
    """One version of one model, ready to run.

    `predictor`: how it recommends; None for a model that does not. `circuit`: is told how its runs go. `memory_bytes`:
    what it counts for (serving/models/memory.py). `seen`: how long its runs take; None = nobody has looked.
    """

    model: str
    version: int
    digest: str
    bundle: Bundle
    session: ModelSession
    predictor: Predictor | None = None
    circuit: Circuit = field(default_factory=Circuit)
    memory_bytes: int = 0
    seen: Seen | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _leases: int = 0
    _on_idle: Callable[[], None] | None = None

    @classmethod
    def of(
        cls,
        model: str,
        version: int,
        digest: str,
        bundle: Bundle,
        session: ModelSession,
        tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
    ) -> "LoadedModel":
        """Put a version together."""
        recommends = bundle.manifest.recommendation is not None
        circuit = Circuit(tolerance)
        predictor = Predictor(model, version, bundle, session, circuit) if recommends else None
        return cls(model, version, digest, bundle, session, predictor, circuit)

    def acquire(self) -> bool:
        """Take a lease; False when it is going away: look into the active table again."""
        with self._lock:
            if self._on_idle is not None:
                return False
            self._leases += 1
            return True

    def release(self) -> None:
        """Give a lease back."""
        with self._lock:
            self._leases -= 1
            done = self._on_idle if self._leases == 0 else None
        if done:
            done()

    def drain(self, on_idle: Callable[[], None]) -> None:
        """Give no more leases; call `on_idle` once, from whichever thread ends the last one."""
        with self._lock:
            self._on_idle = on_idle
            idle = self._leases == 0
        if idle:
            on_idle()
