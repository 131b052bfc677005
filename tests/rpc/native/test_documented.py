"""docs/transport.md lists every limit with its default."""

import re
from dataclasses import fields
from pathlib import Path

from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.native.limits import ServerLimits

PAGE = Path(__file__).parents[3] / "docs" / "transport.md"


def test_every_limit_stands_there_with_its_default() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| ([\d, ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {
        name: float(value)
        for names, values in rows
        for name, value in zip(re.findall(r"`(\w+)`", names), values.split(","), strict=True)
    }
    ours = {f.name: float(f.default) for f in fields(ServerLimits) if isinstance(f.default, int | float)}
    theirs = {f.name: float(f.default) for f in fields(ConnectionLimits) if isinstance(f.default, int | float)}
    assert listed == {f"connection_{n}" if n in ours else n: value for n, value in theirs.items()} | ours
