"""The tests that documents name, as proof of what they say, are there, and so are the metrics."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = set(re.findall(r"`(tests/[\w/.]+\.py)`", page.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_that_a_page_names_is_there(page: Path) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving" / "telemetry").glob("*.py"))
    known = set(re.findall(r"\bnearline_\w+", code)) | {
        f"nearline_{name}" for name in re.findall(r'"(\w+)"', (ROOT / "serving/telemetry/nearline.py").read_text())
    }
    named = set(re.findall(r"\bnearline_[a-z_]+", page.read_text(encoding="utf-8")))
    named = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in named}
    assert sorted(named - known) == []
