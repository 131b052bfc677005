"""A node whose artifact store is S3: it fetches from there, bears that it is away, and tells nobody its credentials."""

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end import broken
from tests.end_to_end.client import Load, wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import write_recommender
from tests.end_to_end.waiting import wait_until
from tests.servers.s3 import BUCKET, S3Server, set_variables

KEY, SECRET = f"AKIA{uuid.uuid4().hex[:16].upper()}", uuid.uuid4().hex


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """One of its own, which may be away."""
    server = S3Server(tmp_path / "s3")
    server.start()
    set_variables(server, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # by default its client alone tries for a quarter of a minute
    yield server
    server.stop()


@pytest.mark.timeout(300)
def test_a_node_fetches_from_s3_bears_that_it_is_away_and_loads_what_is_missing_once_it_is_back(
    tmp_path: Path, s3: S3Server
) -> None:
    overrides = {"artifacts": f"s3://{BUCKET}/shop", "retry_first_s": "0.5", "retry_most_s": "2"}
    installation = Installation(tmp_path, overrides)
    with Node(installation) as node:
        graph, items = write_recommender(tmp_path, 1)
        said = [installation.run("publish", "shop", str(graph), "--items", str(items), "--wait", timeout_s=120)]
        assert said[0].returncode == 0, said[0].stderr
        assert s3.contents(), "it is there, and nowhere else"
        assert not (tmp_path / "artifacts").exists()
        wait_for_version(node.address, "shop", 1)

        kept: dict[str, bytes] = {}

        def away(_stored: Path) -> None:
            kept.update(s3.contents())
            s3.stop()

        with Load(node.address, "shop", threads=1) as load:
            broken.announce_damaged(installation, "shop", 2, after=away)
            wait_until(lambda: _failed_twice(node), "every worker fails to fetch it, and tries it again by itself", 120)
            load.wait_for(1, 50)
            assert (set(load.versions), load.failures, load.mixed) == ({1}, [], [])

            s3.start()
            for name, data in kept.items():
                s3.put(name, data)
            installation.wait_for_state("shop", 2, {"READY"}, node.workers)
            load.wait_for(2, 50)
        assert (set(load.versions), load.failures, load.mixed) == ({1, 2}, [], [])
        said += [installation.run(*command) for command in (["status"], ["history", "shop"], ["inspect", "shop"])]

    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "s3" not in path.parts]
    printed = [output.encode() for done in said for output in (done.stdout, done.stderr)]
    assert any(b"shop/sha256" in content for content in written), "the ledger and the log are among them"
    for content in (*written, *printed):
        assert KEY.encode() not in content
        assert SECRET.encode() not in content


def _failed_twice(node: Node) -> bool:
    """Seen in the log, as instances are between two states for most of the time."""
    states = [line for line in node.events("instance.state") if line["version"] == 2]
    assert {line["state"] for line in states} <= {"ANNOUNCED", "FETCHING", "FAILED"}
    failed = Counter(line["worker"] for line in states if line.get("kind") == "FETCH")
    return len(failed) == node.workers and min(failed.values()) > 1
