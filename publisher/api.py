"""Publishing in one line: `publish("homepage", "model.onnx")`.

Builds the bundle, has it pass the gate (publisher/gate), stores it, announces it.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from protos.names import check_model_name, check_version
from publisher.announce import Announcement
from publisher.delivery import Delivery
from publisher.gate.demands import Demands, read_metrics
from publisher.gate.gate import Passage, pass_gate
from publisher.prepare import Prepared, prepare
from publisher.signing import bundle_keys
from publisher.sources.source import Samples
from serving.bundles.about import Limits, read_about, read_lineage
from serving.bundles.lineage import Lineage
from serving.bundles.nearline import NearlineSettings, read_nearline
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import ModelError, UserError
from serving.recipes.recipe import Recipe
from serving.settings import Settings

_HERE = {"localhost", "127.0.0.1", "[::1]"}


def publish(
    name: str,
    model: Any,
    *,
    items: Sequence[str] | None = None,
    popular: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    nearline: NearlineSettings | Mapping[str, Any] | None = None,
    samples: Samples | NDArray[Any] | None = None,
    version: int | None = None,
    held: bool = False,
    description: str = "",
    owner: str = "",
    tags: Sequence[str] = (),
    stale_after: str | int | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    lineage: Lineage | Mapping[str, Any] | None = None,
    training_data: Any = None,
    gate: Demands | None = None,
    dry_run: bool = False,
    settings: Settings | None = None,
    bus: Bus | None = None,
    step: Callable[[str], None] = lambda _doing: None,
    passed: Callable[[Prepared, Passage], None] = lambda _prepared, _passage: None,
) -> Announcement:
    """Publish a model, and return its announcement.

    Args:
        name: The model's name, `[a-z][a-z0-9_-]{0,63}`.
        model: A trained model, an `onnx.ModelProto`, a function that makes one, a path, an MLflow URI, or
            `module:function`; docs/publishing.md has them all.
        items: For a recommender, the item ids by row of its catalogue; it must have an INT64 output `items` (rows)
            and an FP32 output `scores`, both [batch, k]. Under other names they are the only ones of their types.
        popular: Item ids, most popular first, for entities that nothing is known of; default: the order of `items`.
        recipe: How each input comes from events; default: the entity's last items, as many as the input is wide.
        nearline: When answers expire, who goes first, when a new version takes over; see NearlineSettings. A recipe
            with windows or ages needs a `ttl`.
        samples: An array for each input (or one array for the only one), a row each; drawn from the signature when
            not given. The bundle keeps the first 64 rows.
        version: Default: the newest + 1.
        held: Not to be served until a rollout names it; nodes load it ahead while it is the newest.
        description: For people.
        owner: Who answers for the model.
        tags: Words to find it by.
        stale_after: Age at which a newer version is expected: `7d`, or seconds.
        limits: What it may take; see Limits.
        lineage: Where it comes from; see Lineage. Framework, code and a file of training data are filled in, and the
            metrics that the gate is given.
        training_data: Rows that it was trained on, for the baseline: path of a Parquet or CSV file, a data frame, an
            array for each input or one for the only input; default: the samples.
        gate: What it has to keep to beside that it works; see publisher/gate/demands.py.
        dry_run: Do all of it, the gate and signing included, but store and announce nothing.
        settings: Default: from `NEARLINE_*` variables.
        bus: An open bus to use; default: the one that the settings name.
        step: Told what is being done.
        passed: Told of the bundle that passed the gate, and what that found, before anything is stored.

    Raises:
        UserError: What was given cannot be published; the message says why. ConflictError: the given version is
            another bundle already, or the same one, but held where this is not, or not held where this is.
        ModelError: The graph cannot be loaded: `kind` is LOAD, or CRASH, TIMEOUT or RESOURCE where it ended the process
            that it was opened in, which is not this one.
        GateError: The bundle did not pass the gate; its `checks` say why. Nothing was stored or announced.
        UnavailableError: The bus or the artifact store is away.
    """
    settings = settings or Settings()
    check_model_name(name)
    if version is not None:
        check_version(version)
    check_reachable(settings)
    bundle_keys(settings)  # whoever cannot sign learns it before all the work
    settled = read_nearline(nearline)
    traced = read_lineage(lineage)
    demands = gate or Demands()
    demands = replace(demands, metrics=read_metrics("metric", {**traced.metrics, **demands.metrics}))
    about = read_about(
        {
            "description": description,
            "owner": owner,
            "tags": tags,
            "stale_after": stale_after,
            "limits": limits or {},
            "lineage": traced.model_copy(update={"metrics": _finite(demands.metrics)}),
        }
    )
    with tempfile.TemporaryDirectory(prefix="nearline-bundle-") as temporary:
        with _named(name):
            bundle = prepare(
                model,
                Path(temporary),
                items=items,
                popular=popular,
                recipe=recipe,
                nearline=settled,
                samples=samples,
                about=about,
                training_data=training_data,
                settings=settings,
                step=step,
            )
        with _connected(settings, bus) as connected:
            step("passing the gate")
            passage = pass_gate(bundle.folder, name, version, demands, settings, connected)
            passed(bundle, passage._replace(checks=(*bundle.checks, *passage.checks)))
            delivery = Delivery(name, bundle.folder, settings, version, held)
            if dry_run:
                return delivery.rehearse(connected)
            step("storing and announcing it")
            return delivery.make(connected)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that JSON has; the gate looks at all."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which model it is whose graph cannot be opened."""
    try:
        yield
    except ModelError as error:
        raise ModelError(error.kind, f"{name}: {error}", detail=error.detail, rejected=error.rejected) from error


@contextmanager
def _connected(settings: Settings, bus: Bus | None) -> Iterator[Bus]:
    """The caller's bus, which stays open, or one of our own."""
    connected = bus or connect_bus(settings)
    try:
        yield connected
    finally:
        if bus is None:
            connected.close()


def check_reachable(settings: Settings) -> None:
    """The default artifact store is a folder of this machine: nodes behind a distant broker cannot read it."""
    if settings.artifacts or not settings.bus.startswith("kafka://"):
        return
    hosts = [server.rpartition(":")[0] for server in settings.bus.removeprefix("kafka://").split(",")]
    if set(hosts) - _HERE:
        raise UserError(
            f"artifacts: expected a store that every node can read, since the bus is on {', '.join(hosts)}, got the "
            "default folder of this machine; set NEARLINE_ARTIFACTS (s3://…, gs://…, or file:// of a shared mount)"
        )
