"""Predictions that were computed elsewhere: seen in one step, and the way back."""

import os
import signal
from pathlib import Path

import polars as pl

from publisher.bulk import load
from publisher.ledger import Ledger
from serving.artifacts.store import FsspecArtifacts
from tests.end_to_end.client import FALLBACK, NEARLINE, everywhere, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import items_of, publish_recommender
from tests.end_to_end.waiting import wait_until

ENTITIES = [f"e{n}" for n in range(400)]
ITEMS = items_of(1)


def test_a_load_is_seen_undone_and_overtaken_by_events(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    assert recommend(node.address, "shop", "e1").source == FALLBACK

    said = installation.ask("load", "shop", str(_write(installation.folder, ITEMS[7])))
    assert (said["load"], said["version"], said["rows"], said["shown"]) == (1, 1, len(ENTITIES), 1)
    _wait_for(node, ITEMS[7], *ENTITIES[:20])
    answer = recommend(node.address, "shop", "e1")
    assert (answer.source, answer.version, list(answer.item_ids)) == (NEARLINE, 1, [ITEMS[7], ITEMS[0]])
    assert recommend(node.address, "shop", "nobody").source == FALLBACK

    installation.ask("load", "shop", str(_write(installation.folder, ITEMS[8])))
    _wait_for(node, ITEMS[8], "e1", "e2", "e3")

    assert installation.ask("load", "shop", "--undo")["shown"] == 1
    _wait_for(node, ITEMS[7], "e1", "e2", "e3")
    listed = installation.ask("loads", "shop")
    assert (listed["shown"], [(one["load"], one["kept"]) for one in listed["loads"]]) == (1, [(2, True), (1, True)])

    installation.ask("event", "e1", "item=v1-3")
    wait_until(lambda: len(recommend(node.address, "shop", "e1").item_ids) == 5, "a later prediction, made near-line")
    assert recommend(node.address, "shop", "e1").source == NEARLINE
    assert _first(node, "e2") == ITEMS[7]

    assert installation.ask("load", "shop", "--undo")["shown"] is None
    wait_until(lambda: everywhere(lambda: _source(node, "e2") == FALLBACK), "no load")
    assert recommend(node.address, "shop", "e1").source == NEARLINE


def test_nothing_of_a_load_is_seen_before_all_of_it_is_there_though_its_import_was_killed(
    installation: Installation, node: Node
) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    installation.ask("load", "shop", str(_write(installation.folder, ITEMS[7])))
    _wait_for(node, ITEMS[7], "e1")
    many = _write(installation.folder, ITEMS[8], [*ENTITIES, *(f"more-{n}" for n in range(60_000))])
    seen: set[tuple[str, ...]] = set()
    worker = installation.pids()["nearline-0"]

    _load(installation, many)
    wait_until(lambda: _imports(node, 2) == 1, "an import that has begun")
    os.kill(worker, signal.SIGKILL)

    def all_seen() -> bool:
        firsts = tuple(_first(node, entity) for entity in ("e1", "e2", "more-59999", "more-1"))
        seen.add(firsts)
        return firsts == (ITEMS[8],) * 4

    wait_until(all_seen, "all of the second load")
    assert _imports(node, 2) > 1  # it was killed in the middle
    _wait_for(node, ITEMS[8], *ENTITIES[:20], *(f"more-{n}" for n in range(0, 60_000, 3_000)))
    # Each serving worker flips by itself; what one of them answers is of the one or the other.
    assert {first for firsts in seen for first in firsts[:2]} <= {ITEMS[7], ITEMS[8]}
    assert {first for firsts in seen for first in firsts[2:]} <= {ITEMS[0], ITEMS[8]}


def test_a_file_that_is_not_what_was_said_is_never_shown(installation: Installation, node: Node) -> None:
    publish_recommender(installation, "shop", 1)
    installation.wait_for_state("shop", 1, {"READY"}, node.workers)
    installation.ask("load", "shop", str(_write(installation.folder, ITEMS[7])))
    _wait_for(node, ITEMS[7], "e1")
    node.stop()
    said = installation.ask("load", "shop", str(_write(installation.folder, ITEMS[8])))
    stored = Path(said["uri"].removeprefix("file://"))
    stored.write_bytes(stored.read_bytes().replace(ITEMS[8].encode(), ITEMS[9].encode()))

    node.start()

    (rejected, *_) = wait_until(lambda: node.events("bulk.rejected"), "a rejected load")
    assert (rejected["load"], "expected SHA-256" in rejected["error"]) == (2, True)
    _wait_for(node, ITEMS[7], "e1", "e2")


def _load(installation: Installation, path: Path) -> None:
    """From this process: the program would still be ending while the import begins."""
    settings = installation.settings()
    bus = installation.bus()
    try:
        load(Ledger(bus, settings.topics), FsspecArtifacts(settings.artifacts_url), "shop", path)
    finally:
        bus.close()


def _write(folder: Path, first: str, entities: list[str] | None = None) -> Path:
    """Everybody gets `first`, and then the catalogue's first item."""
    entities = entities or ENTITIES
    path = folder / f"{first}-{len(entities)}.parquet"
    count = len(entities)
    pl.DataFrame(
        {"entity": entities, "items": [[first, ITEMS[0]]] * count, "scores": [[1.0, 0.5]] * count}
    ).write_parquet(path)
    return path


def _imports(node: Node, number: int) -> int:
    return sum(line["load"] == number for line in node.events("bulk.importing"))


def _source(node: Node, entity: str) -> int:
    return recommend(node.address, "shop", entity).source


def _first(node: Node, entity: str) -> str:
    return recommend(node.address, "shop", entity).item_ids[0]


def _wait_for(node: Node, first: str, *entities: str) -> None:
    """In both serving workers."""

    def seen() -> bool:
        # The first ones tell whether a worker has gone over, and the others that all of it is there.
        return everywhere(lambda: _first(node, entities[0]) == first) and all(
            _first(node, entity) == first for entity in entities for _ in range(6)
        )

    wait_until(seen, f"{first} for {entities}")
