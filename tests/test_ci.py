"""The script that runs everything does not leave anything out unasked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"


def run(folder: Path, *programs: str, **environment: str) -> tuple[int, str, list[str]]:
    """Run it with these programs only, and a `make` that tells target and variable; exit code, stderr, that."""
    (folder / ".ci").mkdir()
    (folder / "bin").mkdir()
    shutil.copy(SCRIPT, folder / ".ci")
    for name in ("bash", "dirname", "env"):
        (folder / "bin" / name).symlink_to(shutil.which(name) or "")
    for name in ("make", *programs):
        (folder / "bin" / name).write_text('#!/usr/bin/env bash\necho "$1${NEARLINE_NO_GO:-}"\n')
        (folder / "bin" / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "NEARLINE_NO_GO"}
    done = subprocess.run(
        [folder / ".ci" / "run"],
        env={**kept, "PATH": str(folder / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout.split()


def test_without_go_it_says_so_at_once(tmp_path: Path) -> None:
    code, said, targets = run(tmp_path)
    assert (code, targets) == (1, [])
    assert said.startswith(".ci/run: expected Go, got none")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("programs", "environment", "targets"),
    [
        (["go"], {}, ["check", "tools", "fuzz", "test"]),
        ([], {"NEARLINE_NO_GO": "1"}, ["check", "fuzz", "test"]),
    ],
)
def test_it_goes_on_with_go_or_when_told_to(
    tmp_path: Path, programs: list[str], environment: dict[str, str], targets: list[str]
) -> None:
    assert run(tmp_path, *programs, **environment) == (0, "", targets)
