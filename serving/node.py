"""Composition root: builds the parts of a worker, wires them, starts them in order and stops them in reverse.

No logic: whatever decides something stands in a module of its own, and receives what it needs here.
"""

import importlib.metadata
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from protos.inference import inference_pb2
from protos.nearline.v1 import model_status_pb2, recommender_pb2, status_pb2
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.abilities import operators_digest, runtime_limits, runtime_operators
from serving.bundles.check import DOMAINS
from serving.bundles.runtime import runtime_version
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import InvalidRequestError, ModelError
from serving.installation import installation_id
from serving.models.circuit import Tolerance
from serving.models.deployer import Audiences, Deployer
from serving.models.instance import Identity
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.loading import Backoff
from serving.models.machine_memory import default_budget, free_bytes
from serving.models.memory import ModelMemory
from serving.models.policy import audience, every_audience
from serving.models.proofs import Proofs
from serving.models.switching import Switch
from serving.models.table import ActiveTable
from serving.models.verdicts import Verdicts
from serving.nearline.bulk import BulkLoads
from serving.nearline.compute import Computer, Limits
from serving.nearline.consuming import Engine
from serving.nearline.costs import Costs
from serving.nearline.due import DueWork
from serving.nearline.filling import Filling
from serving.nearline.fills import FillView
from serving.nearline.forgetting import Budget, Forgetting
from serving.nearline.forgetting_loads import LoadForgetting
from serving.nearline.lanes import Lanes
from serving.nearline.live import LiveVersions
from serving.nearline.load_files import LoadFiles
from serving.nearline.telling import Telling as NearlineTelling
from serving.nearline.turns import Turns
from serving.nearline.watching import FillWatcher
from serving.nearline.worker import Group, NearlineWorker
from serving.recipes.mapping import EventMapping
from serving.recommend.batcher import Batcher
from serving.recommend.hits import Hits
from serving.recommend.infer import Inference
from serving.recommend.misses import Misses
from serving.recommend.queue import Bounds
from serving.recommend.recommend import Recommender
from serving.recommend.traced_batcher import TracedBatcher
from serving.rpc.health import HealthService
from serving.rpc.inference import InferenceService
from serving.rpc.method import Server
from serving.rpc.model_status import ModelStatusService
from serving.rpc.recommender import RecommenderService
from serving.rpc.reflection import SERVICE, ReflectionService
from serving.rpc.traced import traced
from serving.rpc.transports import make_server
from serving.settings import Settings
from serving.store.connect import connect_reader, connect_writer, is_shared
from serving.store.port import StoreReader
from serving.store.traced_reader import TracedReader
from serving.subscriptions.checkpoint import CheckpointFile
from serving.subscriptions.fleet import FleetFollower
from serving.subscriptions.ledger import LedgerFollower
from serving.subscriptions.reporter import StatusReporter
from serving.subscriptions.telling import Telling
from serving.telemetry.metrics import Metrics
from serving.telemetry.nearline import NearlineMetrics
from serving.telemetry.tracing import Tracing
from serving.trust.configured import bundle_trust
from serving.trust.keyring import Keyring

VERSION = importlib.metadata.version("nearline")


@dataclass(frozen=True, slots=True)
class Models:
    """The life of model instances in one worker, the same for both roles."""

    table: ActiveTable
    deployer: Deployer
    ledger: LedgerFollower
    reporter: StatusReporter

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


@dataclass(frozen=True, slots=True)
class ServingWorker:
    """What runs in a serving process."""

    models: Models
    fleet: FleetFollower
    batcher: Batcher
    misses: Misses
    fills: FillWatcher
    store: StoreReader
    health: HealthService
    status: ModelStatusService
    server: Server


@dataclass(frozen=True, slots=True)
class NearlineProcess:
    """What runs in a near-line process."""

    models: Models
    worker: NearlineWorker


def new_identity(settings: Settings, worker: str, role: "status_pb2.Role.ValueType") -> Identity:
    """Name this start of a worker."""
    return Identity(settings.node, worker, role, uuid.uuid4().hex)


def build_serving(
    settings: Settings,
    identity: Identity,
    port: int,
    trials: socket.socket | None = None,
    tracing: Tracing | None = None,
) -> ServingWorker:
    """Build a serving worker that listens on `port`; nothing is started.

    `trials`: to the node's trial helper. Without `tracing` there are no spans.
    """
    metrics = Metrics(CollectorRegistry())
    address = f"{settings.host}:{port}"
    view = FillView(lambda: models.ledger.event_partitions)
    models = _models(settings, identity, metrics, address, view, lambda _record: [audience(settings.labels)], trials)
    store = connect_reader(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
    bounds = Bounds(settings.max_waiting_rows, wait_s=settings.max_wait_s)
    make_batcher = Batcher if tracing is None else partial(TracedBatcher, tracing)
    batcher = make_batcher(metrics, settings.max_batch, inline_s=settings.inline_run_s, bounds=bounds)
    misses = Misses(_connect(settings), settings.topics)
    told = store if tracing is None else TracedReader(store, tracing)
    recommender = Recommender(models.table, told, batcher, misses, metrics, lambda: models.ledger.event_partitions)
    hits = Hits(models.table, store, metrics, lambda: models.ledger.event_partitions, batcher)
    fills = FillWatcher(view, models.table, store, models.deployer.refilled)

    def snapshot() -> model_status_pb2.ModelStatusResponse:
        response = fleet.read(lambda view: view.response())
        response.answered_by = f"{identity.node}/{identity.worker}"
        response.degraded_since_ms = models.ledger.degraded_since_ms
        return response

    names = [
        recommender_pb2.DESCRIPTOR.services_by_name["Recommender"].full_name,
        model_status_pb2.DESCRIPTOR.services_by_name["ModelStatus"].full_name,
        inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    ]
    health = HealthService(names)
    status = ModelStatusService(snapshot)
    fleet = FleetFollower(_connect(settings), settings.topics, status.changed)
    services = (
        RecommenderService(recommender, hits),
        status,
        InferenceService(Inference(models.table, batcher), lambda: health.serving, VERSION),
        health,
        ReflectionService([*names, "grpc.health.v1.Health", SERVICE]),
    )
    methods = [method for service in services for method in service.methods()]
    if tracing is not None:
        methods = traced(methods, tracing)
    server = make_server(settings, methods, address, metrics)
    return ServingWorker(models, fleet, batcher, misses, fills, store, health, status, server)


def build_nearline(
    settings: Settings,
    identity: Identity,
    trials: socket.socket | None = None,
    events: Callable[[], Bus] | None = None,
) -> NearlineProcess:
    """Build a near-line worker; nothing is started.

    `trials`: to the node's trial helper. `events`: connects to them; default: to the bus of the settings.
    """
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    shared = is_shared(settings.store)
    view = FillView(lambda: models.ledger.event_partitions)
    # A shared store holds the predictions of nodes with any labels.
    audiences = every_audience if shared else lambda _record: [audience(settings.labels)]
    models = _models(settings, identity, metrics, "", view, audiences, trials)

    def failed(loaded: LoadedModel, _error: ModelError) -> None:
        metrics.run_errors.labels(loaded.model, loaded.version).inc()

    costs = Costs()
    lanes = Lanes(costs, failed)
    limits = Limits(settings.lateness_s, settings.nearline_share_s, settings.oldest_event_s or None)
    budget = Budget(
        settings.former_bytes // settings.event_partitions,
        settings.former_age_s,
        settings.event_retention_s,
        settings.inactive_s,
    )
    nearline_metrics = NearlineMetrics(registry)
    loads = BundleCache(settings.data_dir / "loads", FsspecArtifacts(settings.artifacts_url), settings.max_bundle_bytes)
    backoff = Backoff(settings.retry_first_s, settings.retry_most_s)
    files = LoadFiles(loads, backoff, nearline_metrics)
    bulk = BulkLoads(
        models.table, files, lambda: models.ledger.event_partitions, nearline_metrics, LoadForgetting(models.table)
    )
    engine = Engine(
        live=LiveVersions(models.table),
        computer=Computer(limits, costs, failed),
        turns=Turns(
            DueWork(costs, lanes, failed, nearline_metrics.freshness.observe),
            Filling(),
            Forgetting(budget),
            lanes,
            bulk,
        ),
        lanes=lanes,
        telling=NearlineTelling(
            nearline_metrics, view, models.table, models.deployer.refilled, models.deployer.backfilled
        ),
        mapping=event_mapping(settings),
        stall_s=settings.stall_s,
        late_letters=settings.late_dead_letters,
    )
    # A store of its own means that every node consumes every event; a shared one, that all nodes split them.
    name = settings.topics.groups + ("" if shared else f".{settings.node}")
    group = Group(name, settings.topics, settings.nearline_batch)
    worker = NearlineWorker(
        events or _connect(settings),
        lambda: connect_writer(
            settings.store,
            settings.data_dir,
            settings.topic_prefix,
            store_bytes=settings.store_bytes,
            durability=settings.durability,
        ),
        group,
        engine,
    )
    return NearlineProcess(models, worker)


def event_mapping(settings: Settings) -> EventMapping | None:
    """How events are to be read; InvalidRequestError for a setting that says it wrongly."""
    if settings.event_mapping is None:
        return None
    try:
        return EventMapping.model_validate(settings.event_mapping)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"event_mapping.{where}", first["msg"], repr(first["input"])[:80]) from error


def model_memory(settings: Settings, processes: int) -> ModelMemory:
    """Return the memory of one worker's models; `processes`: workers of the node."""
    if settings.model_memory_bytes is not None:
        return ModelMemory(settings.model_memory_bytes)
    return ModelMemory(default_budget(processes), free_bytes)


def _connect(settings: Settings) -> Callable[[], Bus]:
    return lambda: connect_bus(settings)


def _models(
    settings: Settings,
    identity: Identity,
    metrics: Metrics,
    address: str,
    view: FillView,
    audiences: Audiences,
    trials: socket.socket | None,
) -> Models:
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
    reporter = StatusReporter(_connect(settings), settings.topics, identity, presence)
    reporter.operators(operators_digest(), runtime_operators())
    processes = settings.workers + settings.nearline_workers
    memory = model_memory(settings, processes)
    telling = Telling(reporter, metrics, Proofs(settings.data_dir / "verdicts"), identity.worker, memory)
    artifacts = FsspecArtifacts(settings.artifacts_url)
    cache = BundleCache(
        settings.data_dir / "bundles",
        artifacts,
        settings.max_bundle_bytes,
        settings.bundle_cache_bytes,
    )
    verdicts = Verdicts(settings.data_dir / "verdicts", runtime_version())
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
        _connect(settings),
        settings.topics,
        CheckpointFile(settings.data_dir / "checkpoints" / identity.worker, keyring.trust),
        changed=deployer.follow,
        caught_up=deployer.caught_up,
        fault=telling.fault,
        sound=telling.sound,
        trusted=keyring.look,
        retrusted=deployer.trust_changed,
    )
    return Models(table, deployer, ledger, reporter)
