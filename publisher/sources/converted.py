"""The last step of every source that converts: the graph without a converter's traces, compared with the original."""

from collections.abc import Sequence
from importlib import metadata

import onnx

from publisher.sources.agreement import Answer, check_agreement
from publisher.sources.source import MOST_ROWS, Samples, Source
from publisher.sources.tidy import declare_shapes, tidy


def converted(graph: onnx.ModelProto, rows: Samples, answers: Sequence[Answer], framework: str) -> Source:
    """Make a source of a converted graph; UserError when it answers differently.

    Args:
        graph: What the converter made.
        rows: An array for each input, as the graph takes it.
        answers: What the original answers for the same rows, in the order of the graph's outputs.
        framework: The distribution that trained it, such as `scikit-learn`.
    """
    model = tidy(graph)
    agreement, outputs = check_agreement(model, rows, answers)
    declare_shapes(model, outputs, len(next(iter(rows.values()))))
    kept = {name: array[:MOST_ROWS] for name, array in rows.items()}
    return Source(model, kept, framework, version_of(framework), agreement)


def version_of(distribution: str) -> str:
    """Version of an installed distribution; "" when it is not installed under that name."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
