"""Lines of the log."""

import json
import subprocess
import sys

_TWO_WORKERS = """
import os, sys
from serving.telemetry.logs import configure_logs
import structlog
name = "child" if os.fork() == 0 else "parent"
configure_logs("json", "info", worker=name)
for number in range(300):
    structlog.get_logger().info("event", number=number)
if name == "parent":
    os.wait()
"""


def test_workers_that_share_an_unbuffered_stream_write_whole_lines() -> None:
    done = subprocess.run([sys.executable, "-u", "-c", _TWO_WORKERS], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) == 600
    assert {line["worker"] for line in lines} == {"parent", "child"}
