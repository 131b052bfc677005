"""PyTorch, from a module to gRPC: a node answers what the module itself does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from publisher.sources.choose import load_source
from serving.errors import InvalidRequestError, UserError
from tests.frameworks.conftest import HISTORIES, ITEMS, Digest, K, Recommends, Serve

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


class Ranker(torch.nn.Module):  # type: ignore[misc]  # not installed where types are checked
    def __init__(self) -> None:
        super().__init__()
        self.numbers = torch.nn.Linear(3, 8)
        self.items = torch.nn.Embedding(10, 8)
        self.scores = torch.nn.Linear(8, 2)
        self.dropout = torch.nn.Dropout()

    def forward(self, x: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.numbers(x) + self.items(history).mean(1))
        return torch.softmax(self.scores(self.dropout(seen)), -1)


_RNG = np.random.default_rng(0)
GIVEN: dict[str, NDArray[Any]] = {
    "x": _RNG.standard_normal((16, 3)).astype(np.float32),
    "history": _RNG.integers(0, 10, (16, 4)),
}


@pytest.fixture(scope="module")
def module() -> Ranker:
    torch.manual_seed(0)
    return Ranker()


@pytest.fixture(scope="module")
def program(module: Ranker) -> Any:
    batch = torch.export.Dim("batch")
    example = tuple(torch.from_numpy(array) for array in GIVEN.values())
    return torch.export.export(Ranker.eval(module), example, dynamic_shapes=({0: batch}, {0: batch}))


@pytest.mark.parametrize("kind", ["module", "program", "file"])
def test_a_node_answers_as_the_module_itself(
    kind: str, module: Ranker, program: Any, serve: Serve, tmp_path: Path
) -> None:
    torch.export.save(program, tmp_path / "model.pt2")
    model = {"module": module, "program": program, "file": tmp_path / "model.pt2"}[kind]
    more = {name: np.concatenate([array, array[:3]]) for name, array in GIVEN.items()}  # another batch than exported
    answers = serve(kind, model, more, GIVEN if kind == "module" else None)
    with torch.no_grad():
        expected = module.eval()(*[torch.from_numpy(array) for array in more.values()]).numpy()
    np.testing.assert_allclose(next(iter(answers.values())), expected, rtol=1e-4, atol=1e-5)


class Recommender(torch.nn.Module):  # type: ignore[misc]  # as above
    def __init__(self) -> None:
        super().__init__()
        self.tastes = torch.nn.Embedding(len(ITEMS) + 1, 8)
        self.items = torch.nn.Linear(8, len(ITEMS))

    def forward(self, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        known = torch.where(history < 0, len(ITEMS), history)
        scores, rows = torch.topk(self.items(self.tastes(known).sum(1)), K)
        return rows, scores


def test_a_recommender_recommends_what_the_module_itself_says(recommends: Recommends) -> None:
    torch.manual_seed(2)
    module = Recommender().eval()
    with torch.no_grad():
        rows, scores = module(torch.from_numpy(HISTORIES))
    recommends("liked", module, rows.numpy(), scores.numpy())


def test_a_module_keeps_its_mode_and_one_row_is_enough(module: Ranker) -> None:
    module.train()
    source = load_source(module, {name: array[:1] for name, array in GIVEN.items()})
    assert module.training
    assert source.framework == "torch"
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in source.graph.graph.input] == ["batch", "batch"]


def test_the_same_program_has_the_same_digest_in_any_process(program: Any, digest: Digest, tmp_path: Path) -> None:
    path, place = tmp_path / "model.pt2", tmp_path / "there"
    torch.export.save(program, path)
    place.mkdir()
    here = digest(path)
    assert digest(path) == here
    script = (
        "import sys, pathlib; from publisher.build import build_bundle; "
        "from publisher.sources.choose import load_source; "
        "print(build_bundle(load_source(sys.argv[1]), pathlib.Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, place], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip().splitlines()[-1] == str(here)


def test_a_module_without_rows_or_with_others_is_refused(module: Ranker, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"says nothing of its inputs \(x, history\); give example rows"):
        load_source(module)
    with pytest.raises(InvalidRequestError, match=r"an array for each of \['history', 'x'\], got \['x'\]"):
        load_source(module, {"x": GIVEN["x"]})
    with pytest.raises(UserError, match="the model itself cannot answer"):
        load_source(module, {**GIVEN, "x": GIVEN["x"][:, :2]})
    (tmp_path / "model.pt2").write_bytes(b"nonsense")
    with pytest.raises(InvalidRequestError, match=r"a \.pt2 file of torch\.export"):
        load_source(tmp_path / "model.pt2")


def test_what_the_exporter_cannot_follow_is_refused_in_one_line() -> None:
    class Branches(torch.nn.Module):  # type: ignore[misc]  # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(UserError, match=r"^MODEL: exporting Branches with torch\.onnx failed") as said:
        load_source(Branches(), GIVEN["x"])
    assert "\n" not in str(said.value)
