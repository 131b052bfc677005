"""Whether a version takes and gives what the one that it replaces does: its clients do not change with it."""

import hashlib
import tempfile
from pathlib import Path

from protos.records import Announced, ModelRecord
from protos.traffic import eligible
from publisher.gate.report import Check
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.bundle import MANIFEST
from serving.bundles.manifest import Manifest, Tensor, read_manifest
from serving.errors import NearlineError, UserError


class WrongBytesError(NearlineError):
    """What is stored is not what was announced."""


def replaced(record: ModelRecord, version: int | None) -> Announced | None:
    """The newest version that may serve, other than the one that is published; None for a first one."""
    others = [v for v in (*eligible(record), *sorted(record.versions, reverse=True)) if v != version]
    living = [v for v in others if v not in record.retired]
    return record.versions[living[0]] if living else None


def check_signature(new: Manifest, before: Announced, artifacts: FsspecArtifacts, *, breaking: bool) -> list[Check]:
    """A check for each difference; one that passes where there is none, or where it is meant."""
    name = f"signature, against version {before.version}"
    try:
        old = _manifest_of(before, artifacts)
    except WrongBytesError as error:
        return [Check(name, False, "the manifest as announced", str(error))]
    except (NearlineError, OSError) as error:
        return [Check(name, True, "", f"not compared: {error}")]
    found = _differences(old, new)
    if not found:
        return [Check(name, True, "the same inputs and outputs", "the same")]
    return [
        Check(f"{field} of version {before.version}", breaking, f"{expected} (or --breaking)", actual)
        for field, expected, actual in found
    ]


def _differences(old: Manifest, new: Manifest) -> list[tuple[str, str, str]]:
    """Field, expected and actual. An output that was not there before hurts nobody."""
    found = []
    for what, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        was, now = {t.name: t for t in before}, {t.name: t for t in after}
        found += [
            (f"{what} {name!r}", _shown(was.get(name)), _shown(now.get(name)))
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name) and not (what == "output" and name not in was)
        ]
    if old.recommendation and not new.recommendation:
        found.append(("recommendation", "a recommender", "a model that answers ModelInfer only"))
    return found


def _manifest_of(announced: Announced, artifacts: FsspecArtifacts) -> Manifest:
    """Fetch it; WrongBytesError, and what fetching and reading raise."""
    listed = next((file for file in announced.files if file.path == MANIFEST), None)
    if listed is None:
        raise UserError(f"{MANIFEST}: expected among the announced files, got none")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / MANIFEST
        artifacts.fetch(announced.uri, MANIFEST, target, listed.size)
        data = target.read_bytes()
    if (actual := hashlib.sha256(data).hexdigest()) != listed.sha256:
        raise WrongBytesError(f"{MANIFEST}: SHA-256 {actual}, not {listed.sha256}")
    return read_manifest(data)


def _shown(tensor: Tensor | None) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}" if tensor else "none"
