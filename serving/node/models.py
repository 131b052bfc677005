"""What both kinds of workers have: models that follow the ledger, and tell of it."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from protos.nearline.v1 import status_pb2
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.abilities import operators_digest, runtime_limits, runtime_operators
from serving.bundles.check import DOMAINS
from serving.bundles.runtime import runtime_version
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.installation import installation_id
from serving.models.circuit import Tolerance
from serving.models.crashes import Crashes
from serving.models.deployer import Deployer
from serving.models.instance import Identity
from serving.models.loader import Loader
from serving.models.loading import Backoff
from serving.models.machine_memory import default_budget, free_bytes
from serving.models.memory import ModelMemory
from serving.models.policy import Audiences
from serving.models.promises import Promises
from serving.models.proofs import Proofs
from serving.models.switching import Switch
from serving.models.table import ActiveTable
from serving.models.verdicts import Verdicts
from serving.nearline.fills import FillView
from serving.node.identity import VERSION
from serving.settings import Settings
from serving.subscriptions.checkpoint import CheckpointFile
from serving.subscriptions.ledger import LedgerFollower
from serving.subscriptions.reporter import StatusReporter
from serving.subscriptions.telling import Telling
from serving.telemetry.metrics import Metrics
from serving.trust.configured import bundle_trust
from serving.trust.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Models:
    """The life of model instances in one worker, the same for both roles."""

    table: ActiveTable
    deployer: Deployer
    ledger: LedgerFollower
    reporter: StatusReporter
    crashes: Crashes

    def start(self) -> None:
        """Report before anything can happen, and decide before the ledger tells anything."""
        self.reporter.start()
        self.deployer.start()
        self.ledger.start()

    def stop(self) -> None:
        """Hear nothing new, decide nothing new, then say so."""
        self.ledger.stop()
        self.deployer.stop()
        self.reporter.stop()


def build_models(
    settings: Settings,
    identity: Identity,
    metrics: Metrics,
    address: str,
    view: FillView,
    audiences: Audiences,
    trials: socket.socket | None,
) -> Models:
    """Build them; nothing is started.

    `address`: where this worker serves; empty for a near-line worker. `trials`: to the node's trial helper.
    """
    started_ms = time.time_ns() // 1_000_000
    limits = runtime_limits()
    installation = installation_id(settings.data_dir)
    keyring = Keyring(settings.trusted_keys, metrics.trust_refused.labels(identity.worker).inc)
    metrics.accepts_unsigned.labels(identity.worker).set(keyring.trust is None)

    def presence() -> status_pb2.Presence:
        trust = keyring.trust
        return status_pb2.Presence(
            node=identity.node,
            worker=identity.worker,
            role=identity.role,
            incarnation=identity.incarnation,
            labels=settings.labels,
            started_at_ms=started_ms,
            pid=os.getpid(),
            address=address,
            nearline_version=VERSION,
            runtime_version=runtime_version(),
            max_opset=limits.opsets[""],
            max_ir_version=limits.ir_version,
            operator_domains=sorted(DOMAINS),
            max_opsets=limits.opsets,
            operators=operators_digest(),
            degraded_since_ms=ledger.degraded_since_ms,
            installation=installation,
            trusted_keys=sorted(trust.keys) if trust else (),
            trust=trust.digest if trust else "",
        )

    table = ActiveTable()
    reporter = StatusReporter(bus_connector(settings), settings.topics, identity, presence)
    reporter.operators(operators_digest(), runtime_operators())
    processes = settings.workers + settings.nearline_workers
    memory = model_memory(settings, identity.worker, processes)
    telling = Telling(reporter, metrics, Proofs(settings.data_dir / "verdicts"), identity.worker, memory)
    artifacts = FsspecArtifacts(settings.artifacts_url)
    cache = BundleCache(
        settings.data_dir / "bundles",
        artifacts,
        settings.max_bundle_bytes,
        settings.bundle_cache_bytes,
    )
    verdicts = Verdicts(settings.data_dir / "verdicts", runtime_version())
    crashes = Crashes(settings.data_dir / "run", identity.worker, verdicts)
    loader = Loader(
        cache,
        verdicts,
        identity.worker,
        trial_timeout_s=settings.trial_timeout_s,
        trial_memory_bytes=settings.trial_memory_bytes,
        helper=trials,
        tolerance=Tolerance(settings.circuit_failures, settings.circuit_rows),
        trusted=bundle_trust(settings, keyring, artifacts, cache.signature_path),
        memory=memory,
        sharers=processes,
        crashes=crashes,
    )
    backoff = Backoff(settings.retry_first_s, settings.retry_most_s)
    deployer = Deployer(
        identity,
        audiences,
        loader,
        table,
        telling.instance,
        backoff,
        Switch(view).filled,
        view.imported,
        unload_first=settings.model_memory_policy == "unload_first",
    )
    ledger = LedgerFollower(
        bus_connector(settings),
        settings.topics,
        CheckpointFile(settings.data_dir / "checkpoints" / identity.worker, keyring.trust),
        changed=deployer.follow,
        caught_up=deployer.caught_up,
        fault=telling.fault,
        sound=telling.sound,
        trusted=keyring.look,
        retrusted=deployer.trust_changed,
    )
    return Models(table, deployer, ledger, reporter, crashes)


def bus_connector(settings: Settings) -> Callable[[], Bus]:
    """Return what connects to the bus: each thread that follows something has a connection of its own."""
    return lambda: connect_bus(settings)


def model_memory(settings: Settings, worker: str, processes: int) -> ModelMemory:
    """Return the memory of one worker's models; `processes`: workers of the node."""
    if settings.model_memory_bytes is not None:
        return ModelMemory(settings.model_memory_bytes)
    promises = Promises(settings.data_dir / "run" / "promised", worker)
    return ModelMemory(default_budget(processes), free_bytes, promises)
