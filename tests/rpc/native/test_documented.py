"""docs/transport.md lists every limit with its default, its metric and its test."""

import re
from dataclasses import fields
from pathlib import Path

from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.native.limits import ServerLimits

PAGE = Path(__file__).parents[3] / "docs" / "transport.md"
TESTS = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| (`[^|]+`) \| ([\d, ]+) \| (\S+) \| [^|]+ \| `(\w+\.py)::(\w+)` \|$",
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_limit_stands_there_with_its_default() -> None:
    listed = {
        name: float(value)
        for names, values, *_ in ROWS
        for name, value in zip(re.findall(r"`(\w+)`", names), values.split(","), strict=True)
    }
    ours = {f.name: float(f.default) for f in fields(ServerLimits) if isinstance(f.default, int | float)}
    theirs = {f.name: float(f.default) for f in fields(ConnectionLimits) if isinstance(f.default, int | float)}
    assert listed == {f"connection_{n}" if n in ours else n: value for n, value in theirs.items()} | ours


def test_the_test_of_every_limit_is_there_and_looks_at_its_metric() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    for names, _, metric, file, test in ROWS:
        # From the test's parameters, which stand before it, to what follows it.
        at = sources[file].index(f"def {test}(")
        begin = max(sources[file].rfind("\n\n\n", 0, at), 0)
        end = sources[file].find("\n\n\n", at)
        said = sources[file][begin : end if end > 0 else None]
        if metric != "nothing":
            assert f'"{metric.strip("`")}"' in said, f"{names}: {file}::{test}"


def test_every_limit_that_counts_is_counted_somewhere() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (PAGE.parents[1] / "serving" / "rpc").rglob("*.py"))
    for names, _, metric, *_ in ROWS:
        assert metric == "nothing" or f'"{metric.strip("`")}"' in code, names
