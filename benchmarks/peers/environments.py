"""A virtual environment for each peer, from its lock file, made when it is first wanted: `.peers/KEY`."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.peer import PeerError

_PROJECT = Path(__file__).parents[2]
_LOCKS = Path(__file__).parent / "requirements"
_ASK = (
    "import importlib.metadata as m, json, platform, sys; "
    "print(json.dumps({'python': platform.python_version()} | {n: m.version(n) for n in sys.argv[1:]}))"
)


def python(key: str) -> Path:
    """The interpreter of a peer's environment."""
    return _PROJECT / ".peers" / key / "bin" / "python"


def install(key: str) -> None:
    """Make the environment, or bring it up to its lock file; PeerError says why it cannot be had here."""
    lock = _LOCKS / f"{key}.txt"
    done = python(key).parents[1] / ".lock"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    made = subprocess.run(
        [_PROJECT / ".ci" / "venv", done.parent, lock],
        env={**os.environ, "PYTHON": sys.executable},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode:
        lines = [line for line in made.stderr.splitlines() if line.lower().startswith("error")] or [made.stderr[-200:]]
        raise PeerError(f"cannot be installed here: {lines[0].strip()}")
    done.write_bytes(lock.read_bytes())


def versions(key: str, *packages: str) -> dict[str, str]:
    """Of Python and of packages in the peer's environment."""
    asked = subprocess.run([python(key), "-c", _ASK, *packages], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, str] = json.loads(asked.stdout)
    return found


def lock() -> None:
    """Write the lock files anew, with the newest versions that the `.in` files allow."""
    for source in sorted(_LOCKS.glob("*.in")):
        options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
        subprocess.run(
            [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", *options, "--no-annotate",
             "--custom-compile-command", "python -m benchmarks.peers --lock",
             source, "--output-file", source.with_suffix(".txt")],
            check=True,
        )  # fmt: skip
