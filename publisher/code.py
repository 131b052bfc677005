"""Which code a model was trained with, as far as the working directory tells: the commit, and if it was dirty."""

import subprocess
from pathlib import Path

from serving.bundles.lineage import Code

_LOOK_S = 10.0


def find_code(folder: Path | None = None) -> Code | None:
    """Ask git about a folder (default: the working directory); None when it is in no repository, or there is no git.

    Dirty: a file that git tracks differs from the commit. Others do not count: a model is often one of them.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Code(commit=commit, dirty=changed != "")


def _git(folder: Path | None, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the user's own git, wherever it is
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_LOOK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
