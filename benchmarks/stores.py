"""Entries a second that each store writes and reads: `python -m benchmarks.stores`; JSON on standard output.

Values of 420 bytes of 100,000 entities in one shard, chosen at random. `puts`: values only; `puts_ranked`: with a rank
beside each, as recency and due marks need. `gets`: a writer's read of a batch; `reads`: a serving worker's reads of
one key each, a batch of them under way. The reference is LMDB's own `put` in a loop, in the same run.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from benchmarks.machine import machine, versions
from serving.environments import Durability
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor, Key, Rank, StoreReader, StoreWriter
from tests.servers.redis import RedisServer

ENTITIES = 100_000
VALUE = bytes(range(210)) * 2
BATCHES = (512, 4096)
SPACE, RANKING = b"p/model\0\x01", b"recency"


class Case(NamedTuple):
    """A store that is measured."""

    name: str
    url: str
    durability: Durability


def entity(number: int) -> bytes:
    """Name an entity."""
    return b"entity-%07d" % number


def rate(count: int, act: Callable[[Sequence[int]], object], rounds: int) -> float:
    """Act on batches of random entities; entries a second in the median round."""
    chosen = random.Random(count)  # noqa: S311 - the same ones for every store
    seconds = []
    for _ in range(rounds):
        batch = chosen.sample(range(ENTITIES), count)
        began = time.perf_counter()
        act(batch)
        seconds.append(time.perf_counter() - began)
    return round(count / sorted(seconds)[rounds // 2])


class Writing:
    """Writes batches to shard 0, one after the other."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._offset = 0
        self._cursor = writer.cursor(0)

    def put(self, batch: Sequence[int], *, ranked: bool = False) -> None:
        """Write one batch."""
        self._offset += 1
        changes: list[Change | Rank] = [Change(SPACE, entity(number), VALUE) for number in batch]
        if ranked:
            changes += [Rank(RANKING, entity(number), self._offset) for number in batch]
        new = Cursor((("events", self._offset),))
        self._writer.write(0, self._cursor, new, changes)
        self._cursor = new


async def read_all(reader: StoreReader, batch: Sequence[int]) -> None:
    """Read one key at a time, without waiting where that can be."""
    keys = [Key(0, SPACE, entity(number)) for number in batch]
    if reader.read_now(keys[:1]) is not None:
        for key in keys:
            reader.read_now([key])
    else:
        await asyncio.gather(*(reader.read([key]) for key in keys))


def measure(case: Case, folder: Path, rounds: int) -> Iterator[dict[str, object]]:
    """Measure one store at each size of a batch."""
    writer = connect_writer(case.url, folder, "benchmark", durability=case.durability)
    reader = connect_reader(case.url, folder, "benchmark", durability=case.durability)
    writing = Writing(writer)
    for start in range(0, ENTITIES, 10_000):
        writing.put(range(start, start + 10_000), ranked=True)
    with asyncio.Runner() as runner:
        for count in BATCHES:
            yield {
                "store": case.name,
                "batch": count,
                "puts": rate(count, writing.put, rounds),
                "puts_ranked": rate(count, lambda batch: writing.put(batch, ranked=True), rounds),
                "gets": rate(count, lambda batch: writer.read(0, SPACE, [entity(n) for n in batch]), rounds),
                "reads": rate(count, lambda batch: runner.run(read_all(reader, batch)), rounds),
            }
        runner.run(reader.close())
    writer.close()


def reference(folder: Path, rounds: int, *, synced: bool) -> dict[int, float]:
    """Measure LMDB itself."""
    with lmdb.open(str(folder), map_size=1 << 30, sync=synced) as environment:

        def put(batch: Sequence[int]) -> None:
            with environment.begin(write=True) as transaction:
                for number in batch:
                    transaction.put(entity(number), VALUE)

        for start in range(0, ENTITIES, 10_000):
            put(range(start, start + 10_000))
        return {count: rate(count, put, rounds) for count in BATCHES}


@contextmanager
def redis_at(url: str, folder: Path) -> Iterator[str]:
    """The Redis that was named, or one of our own."""
    if url:
        yield url
        return
    server = RedisServer(folder / "redis")
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.stores", description=__doc__)
    parser.add_argument("--redis", default="", help="URL of an empty Redis; default: one is started")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, redis_at(options.redis, Path(name)) as url:
        folder = Path(name)
        plain = {
            "lmdb": reference(folder / "plain", options.rounds, synced=True),
            "lmdb-unsynced": reference(folder / "plain-unsynced", options.rounds, synced=False),
        }
        cases = [Case("lmdb", "lmdb", "batch"), Case("lmdb-unsynced", "lmdb", "process"), Case("redis", url, "batch")]
        found = []
        for case in cases:
            for figures in measure(case, folder / case.name, options.rounds):
                if case.name in plain:
                    own = plain[case.name][int(str(figures["batch"]))]
                    figures |= {"plain_lmdb_puts": own, "ratio": round(float(str(figures["puts"])) / own, 3)}
                found.append(figures)
    result = {
        "benchmark": "stores", "unit": "entries/s", "results": found,
        "versions": versions("lmdb", "redis"), "machine": machine(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
