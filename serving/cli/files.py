"""The files that options of `nearline publish` name; InvalidRequestError names the option."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from publisher.sources.sample_file import SUFFIXES, read_table
from serving.bundles.manifest_file import ManifestFile, parse_manifest_file
from serving.bundles.recipe_file import RecipeFile, parse_recipe_file
from serving.errors import InvalidRequestError


def read_lines(path: Path | None, option: str) -> list[str] | None:
    """Read ids, one a line."""
    if path is None:
        return None
    return [line for line in _text(path, option).splitlines() if line]


def read_recipe(path: Path | None) -> RecipeFile:
    """Read a recipe as YAML or JSON, with the near-line settings that it may have beside it."""
    if path is None:
        return RecipeFile()
    try:
        return parse_recipe_file(_text(path, "--recipe"))
    except InvalidRequestError as error:
        where = "file" if error.field == "recipe" else error.field.removeprefix("recipe.")
        raise InvalidRequestError(f"--recipe {where}", error.expected, error.actual) from None


def read_about_file(path: Path | None, recipe: Path | None) -> ManifestFile:
    """Read what is to be said of a model; what a recipe file of its own says of inputs and near-line goes into it."""
    if path is None:
        said = ManifestFile()
    else:
        try:
            said = parse_manifest_file(_text(path, "--manifest"))
        except InvalidRequestError as error:
            where = "file" if error.field in {"manifest", "recipe"} else error.field.removeprefix("manifest.")
            raise InvalidRequestError(f"--manifest {where}", error.expected, error.actual) from None
    written = read_recipe(recipe)
    for part in ("recipe", "nearline"):
        if getattr(said, part) is not None and getattr(written, part) is not None:
            name = "inputs" if part == "recipe" else part
            raise InvalidRequestError("--recipe", f"no {name}, which --manifest has", "both")
    return ManifestFile(said.about, written.recipe or said.recipe, written.nearline or said.nearline, said.hold)


def read_samples(path: Path | None) -> dict[str, NDArray[Any]] | NDArray[Any] | None:
    """Read arrays by input, or the only one."""
    if path is None:
        return None
    if path.suffix in SUFFIXES:
        return read_table(path)
    try:
        with path.open("rb") as file:  # numpy leaks the file when it opens a broken one by itself
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidRequestError("--sample", "a .parquet, .csv, .npz or .npy file", f"{path}: {error}") from None


def _text(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(option, "a file of UTF-8 text", f"{path}: {error}") from None
