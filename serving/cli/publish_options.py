"""Options of `nearline publish` that say what a model is; those of the gate stand in gate.py."""

from pathlib import Path
from typing import Annotated

import typer

ModelSource = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="File or folder of a model, MLflow URI, or module:function; see docs/publishing.md."
    ),
]
Items = Annotated[
    Path | None, typer.Option(help="For a recommender: its item ids, one a line, in the order of its rows.")
]
Popular = Annotated[
    Path | None, typer.Option(help="Item ids, most popular first, one a line. Default: the order of --items.")
]
RecipePath = Annotated[
    Path | None,
    typer.Option(help="YAML or JSON: how each input comes from events, and near-line settings; see docs/nearline.md."),
]
SamplesPath = Annotated[
    Path | None,
    typer.Option(
        "--sample",
        "--samples",
        help="Sample rows: Parquet, CSV or .npz by input or column, or .npy for the only input.",
    ),
]
NewVersion = Annotated[int | None, typer.Option(help="Default: the newest + 1.")]
Hold = Annotated[
    bool | None,
    typer.Option(
        "--hold/--no-hold",
        "--held",
        help="Not to be served until a rollout names it; nodes load it ahead. Default: as the manifest says.",
    ),
]
ManifestPath = Annotated[
    Path | None,
    typer.Option(
        help="YAML or JSON: owner, description, tags, limits, stale_after, lineage, hold, and a recipe's inputs and "
        "nearline; see docs/publishing.md. Options win over it."
    ),
]
Description = Annotated[str, typer.Option(help="For people.")]
Owner = Annotated[str, typer.Option(help="Who answers for the model.")]
Tags = Annotated[list[str] | None, typer.Option(help="A word to find it by; repeatable.")]
TrainingData = Annotated[
    Path | None, typer.Option(help="Parquet or CSV with a column for each input: for the baseline.")
]
Artifacts = Annotated[str | None, typer.Option(help="fsspec URL of the artifact store.")]
