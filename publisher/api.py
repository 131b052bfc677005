"""Publishing in one line: `publish("homepage", "model.onnx")`.

Builds the bundle, has it pass the gate (publisher/gate), stores it, announces it.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from protos.digest import bundle_digest
from protos.names import check_model_name, check_version
from publisher.announce import Announcement, announce
from publisher.build import build_bundle, list_files
from publisher.gate.demands import Demands
from publisher.gate.gate import pass_gate
from publisher.gate.report import Check
from publisher.recommender import describe_recommender
from publisher.signing import open_ledger, sign_bundle
from publisher.sources.choose import load_source
from publisher.sources.source import Samples
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.nearline import NearlineSettings, read_nearline
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import InvalidRequestError, UserError
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
    gate: Demands | None = None,
    settings: Settings | None = None,
    bus: Bus | None = None,
    step: Callable[[str], None] = lambda _doing: None,
    checked: Callable[[Sequence[Check]], None] = lambda _checks: None,
) -> Announcement:
    """Publish a model, and return its announcement.

    Args:
        name: The model's name, `[a-z][a-z0-9_-]{0,63}`.
        model: A trained model, an `onnx.ModelProto`, a function that makes one, a path, an MLflow URI, or
            `module:function`; docs/publishing.md has them all.
        items: For a recommender, the item ids by row of its catalogue; it must have INT64 outputs `items` (rows)
            and FP32 outputs `scores`, both [batch, k].
        popular: Item ids, most popular first, for entities that nothing is known of; default: the order of `items`.
        recipe: How each input comes from events; default: the entity's last items, as many as the input is wide.
        nearline: When answers expire, who goes first, when a new version takes over; see NearlineSettings. A recipe
            with windows or ages needs a `ttl`.
        samples: An array for each input (or one array for the only one), a row each; drawn from the signature when
            not given. The bundle keeps the first 64 rows.
        version: Default: the newest + 1.
        held: Not to be served until a rollout names it; nodes load it ahead while it is the newest.
        description: For people.
        gate: What it has to keep to beside that it works; see publisher/gate/demands.py.
        settings: Default: from `NEARLINE_*` variables.
        bus: An open bus to use; default: the one that the settings name.
        step: Told what is being done.
        checked: Told what the gate found, when it is passed.

    Raises:
        UserError: What was given cannot be published; the message says why.
        GateError: The bundle did not pass the gate; its `checks` say why. Nothing was stored or announced.
        UnavailableError: The bus or the artifact store is away.
    """
    settings = settings or Settings()
    check_model_name(name)
    if version is not None:
        check_version(version)
    check_reachable(settings)
    settled = read_nearline(nearline)
    step("reading the model")
    source = load_source(model, samples)
    described = describe_recommender(source.graph, items, popular, recipe)
    with tempfile.TemporaryDirectory(prefix="nearline-bundle-") as temporary:
        folder = Path(temporary)
        step("building the bundle")
        files = build_bundle(
            source,
            folder,
            recipe=described.recipe,
            recommendation=described.recommendation,
            catalogue=described.catalogue,
            nearline=settled,
            description=description,
        )
        size = sum(file.size for file in files)
        if size > settings.max_bundle_bytes:
            raise InvalidRequestError("bundle", f"at most {settings.max_bundle_bytes} bytes", size)
        step("trying it in a throw-away process")
        with _connected(settings, bus) as connected:
            checked(pass_gate(folder, name, version, gate or Demands(), settings, connected))
            step("storing and announcing it")
            return deliver(
                name, folder, version=version, held=held, description=description, settings=settings, bus=connected
            )


def deliver(
    name: str,
    folder: Path,
    *,
    version: int | None = None,
    held: bool = False,
    description: str = "",
    settings: Settings,
    bus: Bus | None = None,
) -> Announcement:
    """Store the bundle in a folder as it is, untried, and announce it."""
    files = list_files(folder)
    digest = bundle_digest(files)
    artifacts = FsspecArtifacts(settings.artifacts_url)
    uri = artifacts.put(digest, {file.path: folder / file.path for file in files})
    signature = sign_bundle(settings, artifacts, folder, digest)
    with _connected(settings, bus) as connected:
        return announce(
            open_ledger(connected, settings),
            name,
            digest,
            uri,
            files,
            version=version,
            held=held,
            description=description,
            signature=signature,
        )


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
