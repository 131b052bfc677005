"""What a trial is asked for, and how its process ended: passed between processes as JSON."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_RUNTIME_BYTES = 2 << 30
"""Address space that the interpreter, numpy and ONNX Runtime take before any model."""
_MEASURING_S = 5.0
"""What measuring one size of batch may take: trial_work.py measures for a second, after a first run."""


@dataclass(frozen=True, slots=True)
class Order:
    """A trial. `memory_bytes`: of address space, all in all. `batches`: sizes whose latency is to be measured.

    `timeout_s`: until the process is killed, measuring included. `look`: there is no bundle yet, only its graph, which
    is to be opened (look.py).
    """

    folder: str
    memory_bytes: int
    timeout_s: float
    batches: tuple[int, ...] = ()
    look: bool = False

    @classmethod
    def of(
        cls, folder: Path, timeout_s: float, memory_bytes: int, batches: Sequence[int] = (), *, look: bool = False
    ) -> "Order":
        """`memory_bytes`: beside the bundle's own size, and what any process takes. `timeout_s`: beside measuring."""
        bundle_bytes = sum(path.stat().st_size for path in folder.iterdir())
        until_s = timeout_s + _MEASURING_S * len(batches)
        return cls(str(folder), memory_bytes + 2 * bundle_bytes + _RUNTIME_BYTES, until_s, tuple(batches), look)

    @property
    def cpu_s(self) -> int:
        """Seconds of processor time: what is over before the time is."""
        return int(self.timeout_s) + 5

    def encode(self) -> bytes:
        """As `decode` reads it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Read what `encode` wrote."""
        said = json.loads(data)
        return cls(**{**said, "batches": tuple(said["batches"])})


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: negative codes are signals, None means that its time was over. `out`: its report."""

    code: int | None
    out: str
    err: str


def bare_environment() -> dict[str, str]:
    """Nothing of ours leaks in: no credentials, no settings. One thread, so that memory is predictable."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
