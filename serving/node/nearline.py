"""Composition root of a near-line worker: builds its parts and wires them.

No logic: whatever decides something stands in a module of its own, and receives what it needs here.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.bus.port import Bus
from serving.errors import ModelError
from serving.models.instance import Identity
from serving.models.loaded import LoadedModel
from serving.models.loading import Backoff
from serving.models.policy import audience, every_audience
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
from serving.nearline.worker import Group, NearlineWorker
from serving.node.mapping import event_mapping
from serving.node.models import Models, build_models, bus_connector
from serving.settings import Settings
from serving.store.connect import connect_writer, is_shared
from serving.telemetry.metrics import Metrics
from serving.telemetry.nearline import NearlineMetrics


@dataclass(frozen=True, slots=True)
class NearlineProcess:
    """What runs in a near-line process."""

    models: Models
    worker: NearlineWorker


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
    models = build_models(settings, identity, metrics, "", view, audiences, trials)

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
        events or bus_connector(settings),
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
