"""A store under test, and children that write to it."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Cursor, Key, StoreReader, StoreWriter

ROOT = Path(__file__).parents[2]


def at(offset: int, log: str = "log") -> Cursor:
    """Where a shard stands that has applied so much of one log."""
    return Cursor(((log, offset),))


@dataclass(frozen=True)
class Store:
    url: str
    folder: Path
    namespace: str

    def writer(self) -> StoreWriter:
        return connect_writer(self.url, self.folder, self.namespace)

    def reader(self) -> StoreReader:
        return connect_reader(self.url, self.folder, self.namespace)

    def reads(self, keys: Sequence[Key]) -> list[bytes | None]:
        """What a reader of its own finds."""

        async def read() -> list[bytes | None]:
            reader = self.reader()
            try:
                return await reader.read(keys)
            finally:
                await reader.close()

        return asyncio.run(read())

    def child(self, what: str) -> subprocess.Popen[str]:
        """A process that does what writing.py calls `what`, and says a line when it is under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.store.writing", what, self.url, str(self.folder), self.namespace],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )


def hear(child: subprocess.Popen[str]) -> str:
    """The child's next line."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def end(child: subprocess.Popen[str]) -> None:
    """Kill it, as a crash would."""
    child.kill()
    child.communicate()
