"""Composition root of a serving worker: builds its parts and wires them.

No logic: whatever decides something stands in a module of its own, and receives what it needs here.
"""

import socket
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry

from protos.inference import inference_pb2
from protos.nearline.v1 import model_status_pb2, recommender_pb2
from serving.models.instance import Identity
from serving.models.policy import audience
from serving.nearline.fills import FillView
from serving.nearline.watching import FillWatcher
from serving.node.identity import VERSION
from serving.node.models import Models, build_models, bus_connector
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
from serving.store.connect import connect_reader
from serving.store.port import StoreReader
from serving.store.traced_reader import TracedReader
from serving.subscriptions.fleet import FleetFollower
from serving.telemetry.metrics import Metrics
from serving.telemetry.tracing import Tracing


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
    models = build_models(
        settings, identity, metrics, address, view, lambda _record: [audience(settings.labels)], trials
    )
    store = connect_reader(settings.store, settings.data_dir, settings.topic_prefix, durability=settings.durability)
    bounds = Bounds(settings.max_waiting_rows, wait_s=settings.max_wait_s)
    make_batcher = Batcher if tracing is None else partial(TracedBatcher, tracing)
    batcher = make_batcher(metrics, settings.max_batch, inline_s=settings.inline_run_s, bounds=bounds)
    misses = Misses(bus_connector(settings), settings.topics)
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
    fleet = FleetFollower(bus_connector(settings), settings.topics, status.changed)
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
