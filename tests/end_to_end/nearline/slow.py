"""Recommenders whose runs take a moment or more than half a second, with a catalogue that tells the version."""

from typing import Any

from publisher.api import publish
from tests.builders.graphs import ROWS, recommender
from tests.end_to_end.installation import Installation

_ROUNDS = 300_000
"""Of a loop: a run is longer than the share of a step, and than a chunk is to take, so that chunks stay small."""


def publish_version(
    installation: Installation, model: str, version: int, *, slow: bool = False, **nearline: Any
) -> None:
    """Publish a recommender. `nearline`: what its manifest says of near-line."""
    publish(
        model,
        recommender(step=version, rounds=_ROUNDS if slow else 0),
        items=[f"v{version}-{row}" for row in range(ROWS)],
        nearline=nearline,
        version=version,
        settings=installation.settings(),
    )
