"""Each heavy library is imported where its adapter is, and nowhere else: what is not chosen costs nothing."""

import ast
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLACES = {
    "kafka": ["serving/bus/kafka/*.py"],
    "onnxruntime": ["serving/bundles/runtime.py"],
    "datasketches": ["serving/bundles/sketches.py"],
    "metaflow": ["publisher/metaflow.py"],
    "lmdb": ["serving/environments.py", "serving/store/lmdb_*.py"],
    "hdrh": ["serving/loadtest/latencies.py"],
    "matplotlib": ["serving/loadtest/chart.py"],
    "redis": ["serving/store/redis_*.py", "serving/store/connect.py"],
}
"""An adapter is a folder, or files of one prefix. The store's `connect` looks whether redis is installed."""


@cache
def imported(path: Path) -> frozenset[str]:
    """The top-level packages that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


def importers(library: str) -> list[str]:
    files = (path for package in ("serving", "publisher", "protos") for path in (ROOT / package).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in files if library in imported(path))


@pytest.mark.parametrize("library", PLACES)
def test_a_heavy_library_is_imported_in_its_place_only(library: str) -> None:
    found = importers(library)
    assert found, f"{library}: nobody imports it any more; take it out of the table"
    strangers = [path for path in found if not any(fnmatch(path, place) for place in PLACES[library])]
    assert strangers == [], f"{library}: expected in {PLACES[library]} only"


@pytest.mark.parametrize("library", PLACES)
def test_every_place_imports_its_library(library: str) -> None:
    found = importers(library)
    idle = [place for place in PLACES[library] if not any(fnmatch(path, place) for path in found)]
    assert idle == [], f"{library}: no longer there; take it out of the table"
