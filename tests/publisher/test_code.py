"""What git says of the working directory."""

import subprocess
from pathlib import Path

import pytest

from publisher.code import find_code
from serving.bundles.lineage import Code


def git(folder: Path, *arguments: str) -> str:
    known = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
    command = ["git", *known, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # of a hook that runs the tests
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("fit()")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-qm", "train")
    return tmp_path


def test_the_commit_is_found_from_any_folder_of_the_repository(repository: Path) -> None:
    (repository / "deep").mkdir()
    assert find_code(repository / "deep") == Code(commit=git(repository, "rev-parse", "HEAD"), dirty=False)


def test_a_tracked_file_that_was_changed_makes_it_dirty_and_a_new_model_does_not(repository: Path) -> None:
    (repository / "model.onnx").write_text("new")
    found = find_code(repository)
    assert found
    assert not found.dirty
    (repository / "train.py").write_text("fit(more=True)")
    found = find_code(repository)
    assert found
    assert found.dirty


def test_outside_of_a_repository_or_without_a_commit_there_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert find_code(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert find_code(tmp_path) is None


def test_without_git_there_is_no_code(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find_code(repository) is None
