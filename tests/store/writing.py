"""What child processes do to a store: python -m tests.store.writing WHAT URL FOLDER NAMESPACE."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError
from serving.store.port import Change, Cursor, Table
from tests.store.stores import Store

KEYS = [b"key-%d" % i for i in range(500)]


def batch(number: int) -> list[Change]:
    """All keys get the number."""
    return [Change(Table.STATE, key, b"%d" % number) for key in KEYS]


class DeadlyBatch(list[Change]):
    """Ends the process in the middle of being written."""

    def __iter__(self) -> Iterator[Change]:
        for i, change in enumerate(super().__iter__()):
            if i == len(self) // 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield change


def _once(store: Store) -> None:
    store.writer().write(0, None, Cursor("log", 1), batch(1))


def _forever(store: Store) -> None:
    writer = store.writer()
    cursor = writer.cursor(0)
    number = cursor.offset if cursor else 0
    while True:
        new = Cursor("log", number + 1)
        writer.write(0, cursor, new, batch(number + 1))
        cursor, number = new, number + 1
        if number % 5 == 0:
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def _half(store: Store) -> None:
    writer = store.writer()
    writer.write(0, writer.cursor(0), Cursor("log", 2), DeadlyBatch(batch(2)))


def _reading(store: Store) -> None:
    lease = EnvironmentLease(store.folder / "store", StoreUnavailableError)
    with lease.reading() as transaction:
        transaction.get(b"key")
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    what, url, folder, namespace = sys.argv[1:]
    {"once": _once, "forever": _forever, "half": _half, "reading": _reading}[what](Store(url, Path(folder), namespace))
