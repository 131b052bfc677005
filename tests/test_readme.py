"""What README.md tells a newcomer to type does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import Settings
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.waiting import wait_until

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def python(source: str, folder: Path, installation: Installation) -> str:
    """Run a block as a file of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        env=installation.environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_steps_work_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(tmp_path / "node", {"workers": "1"})
    installation.folder.mkdir()
    make, ask, publish = blocks("python")
    commands = [
        line.partition("#")[0].split()[1:]
        for line in "".join(blocks("sh")).splitlines()
        if line.startswith(("nearline publish", "nearline event", "nearline recommend"))
    ]
    python(make, tmp_path, installation)
    monkeypatch.chdir(tmp_path)
    with Node(installation) as node:
        published, event, recommended = commands
        assert installation.run(*published).returncode == 0
        assert installation.run(*event).returncode == 0

        def computed() -> bool:
            answer = installation.ask(*recommended, "--target", node.address)
            return bool(answer["items"][:2] == ["milk", "honey"])

        wait_until(computed, "what comes of the event")
        assert "'milk'" in python(ask.replace("localhost:8500", node.address), tmp_path, installation)
        python(publish, tmp_path, installation)
        installation.wait_for_state("shop", 2, {"READY"}, 2)


def test_the_port_it_names_is_the_default() -> None:
    assert f"localhost:{Settings().port}" in README.read_text(encoding="utf-8")
