"""A node that serves what tests publish, one after the other, and answers for it over gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from publisher.api import publish
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node

Says = Mapping[str, Any]
"""What a framework says itself, by output of the graph."""


@dataclass(frozen=True)
class Served:
    """The installation, and its only node."""

    installation: Installation
    node: Node

    def publish(self, name: str, model: Any, **given: Any) -> None:
        """Publish from Python; every worker has it READY at the end."""
        publish(name, model, settings=self.installation.settings(), **given)
        self.installation.wait_for_state(name, 1, {"READY"}, self.node.workers)

    def publish_by_program(self, name: str, model: str | Path, *options: str | Path) -> None:
        """Publish from the shell; every worker has it READY at the end."""
        said = self.installation.ask("publish", name, str(model), *map(str, options), "--wait")
        assert [i["state"] for i in said["instances"]] == ["READY"] * self.node.workers

    def ask(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """ModelInfer."""
        return infer(self.node.address, name, inputs)


def assert_says(answers: Mapping[str, NDArray[Any]], says: Says) -> None:
    """Floats agree within what a conversion is allowed, all else is the same; [rows] may have become [rows, 1]."""
    for output, expected in says.items():
        actual = answers[output].reshape(np.shape(expected))
        if np.asarray(expected).dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5, err_msg=output)
        else:
            assert actual.tolist() == np.asarray(expected).tolist()
