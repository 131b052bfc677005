"""The first half of publishing: from a model to a bundle in a folder. Nothing leaves here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from protos.digest import FileEntry, bundle_digest
from publisher.build import build_bundle
from publisher.code import find_code
from publisher.gate.report import Check
from publisher.recommender import describe_recommender
from publisher.sources.choose import load_source
from publisher.sources.source import Agreement, Samples, Source
from serving.bundles.about import About
from serving.bundles.bundle import MANIFEST
from serving.bundles.lineage import Lineage, TrainingData
from serving.bundles.look import Bounds
from serving.bundles.manifest import Manifest, read_manifest
from serving.bundles.nearline import NearlineSettings
from serving.errors import InvalidRequestError
from serving.recipes.recipe import Recipe
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A bundle: its folder and files, and what its manifest says."""

    folder: Path
    files: Sequence[FileEntry]
    manifest: Manifest
    agreement: Agreement | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was looked at on the way: how far a converted model is from its original."""
        if self.agreement is None:
            return ()
        one = self.agreement
        said = f"largest difference {one.difference:.3g}, {one.output}, row {one.row} of {one.rows}"
        return (Check("answers as the original", True, "within the tolerances", said),)

    @property
    def digest(self) -> str:
        """Names the bundle."""
        return bundle_digest(self.files)


def prepare(
    model: Any,
    folder: Path,
    *,
    items: Sequence[str] | None,
    popular: Sequence[str] | None,
    recipe: Recipe | None,
    nearline: NearlineSettings,
    samples: Samples | NDArray[Any] | None,
    about: About,
    training_data: Any,
    settings: Settings,
    step: Callable[[str], None],
) -> Prepared:
    """Read the model, and build its bundle in an empty folder; see publisher/api.py for arguments and errors."""
    step("reading the model")
    source = load_source(model, samples)
    described = describe_recommender(source.graph, items, popular, recipe)
    step("building the bundle")
    files = build_bundle(
        source,
        folder,
        recipe=described.recipe,
        recommendation=described.recommendation,
        catalogue=described.catalogue,
        nearline=nearline,
        about=about.model_copy(update={"lineage": complete(about.lineage, source, training_data)}),
        training_data=training_data,
        bounds=Bounds(settings.trial_timeout_s, settings.trial_memory_bytes),
    )
    size = sum(file.size for file in files)
    if size > settings.max_bundle_bytes:
        raise InvalidRequestError("bundle", f"at most {settings.max_bundle_bytes} bytes", size)
    return Prepared(folder, files, read_manifest((folder / MANIFEST).read_bytes()), source.agreement)


def complete(lineage: Lineage, source: Source, training_data: Any) -> Lineage:
    """Fill in what can be seen and was not said: the framework, the code, and the file of the training data."""
    found: dict[str, Any] = {"code": lineage.code or find_code()}
    if lineage.framework in {"", source.framework}:
        found |= {"framework": source.framework, "framework_version": source.framework_version}
    if isinstance(training_data, str | Path):
        said = lineage.training_data or TrainingData()
        found["training_data"] = said.model_copy(update={"reference": said.reference or str(training_data)})
        lineage = lineage.model_copy(update={"training_data": None})
    return lineage.completed(**found)
