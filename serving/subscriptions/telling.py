"""What happens to model instances goes two ways: to the `status` topic, and into this worker's metrics."""

from protos.judging import Verdict
from protos.nearline.v1 import status_pb2
from serving.models.memory import ModelMemory
from serving.models.proofs import Proofs
from serving.subscriptions.reporter import StatusReporter
from serving.telemetry.metrics import Metrics


class Telling:
    """Both at once, from any thread.

    `proofs`: what has been READY is remembered, and told with every later state. `memory`: changes with the states.
    """

    def __init__(
        self, reporter: StatusReporter, metrics: Metrics, proofs: Proofs, worker: str, memory: ModelMemory
    ) -> None:
        self._reporter = reporter
        self._metrics = metrics
        self._proofs = proofs
        self._memory = memory
        self._memory_used = metrics.model_memory.labels(worker)
        metrics.model_memory_budget.labels(worker).set(memory.budget_bytes)

    def instance(self, status: status_pb2.InstanceStatus, entered: bool) -> None:
        """Tell of a state that an instance entered, or of progress in it."""
        if status.state == status_pb2.READY:
            self._proofs.record(status.digest, status.since_ms)
        status.ready_at_ms = self._proofs.ready_at_ms(status.digest)
        self._reporter.instance(status)
        self._memory_used.set(self._memory.used_bytes)
        if not entered:
            return
        role, state = status_pb2.Role.Name(status.role), status_pb2.InstanceState.Name(status.state)
        self._metrics.transitions.labels(status.model, status.version, role, state).inc()
        if status.HasField("error"):
            kind = status_pb2.ErrorKind.Name(status.error.kind)
            self._metrics.load_errors.labels(status.model, status.version, status.worker, kind).inc()

    def fault(self, offset: int, verdict: Verdict) -> None:
        """Tell of a ledger record that cannot be used."""
        self._reporter.fault(offset, verdict)
        self._metrics.ledger_faults.labels(status_pb2.ErrorKind.Name(verdict.kind)).inc()

    def sound(self, offset: int) -> None:
        """Tell of one that can be used after all."""
        self._reporter.sound(offset)
