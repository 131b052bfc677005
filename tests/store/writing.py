"""What child processes do to a store: python -m tests.store.writing WHAT URL FOLDER NAMESPACE."""

import os
import resource
import signal
import sys
from pathlib import Path

from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError
from serving.store.port import Change, Rank
from tests.store.stores import Store, at

KEYS = [b"key-%d" % i for i in range(500)]


def batch(number: int) -> list[Change | Rank]:
    """All keys get the number, as a value and as a score."""
    changes: list[Change | Rank] = []
    for key in KEYS:
        changes += [Change(b"s", key, b"%d" % number), Rank(b"r", key, number)]
    return changes


class DeadlyValue(bytes):
    """Ends the process that puts it into its stored form."""

    __slots__ = ()

    def __radd__(self, other: bytes) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError(other)


def _once(store: Store) -> None:
    store.writer().write(0, None, at(1), batch(1))


def _forever(store: Store) -> None:
    writer = store.writer()
    cursor = writer.cursor(0)
    number = cursor.positions[0][1] if cursor else 0
    while True:
        new = at(number + 1)
        writer.write(0, cursor, new, batch(number + 1))
        cursor, number = new, number + 1
        if number % 5 == 0:
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def _half(store: Store) -> None:
    writer = store.writer()
    changes = batch(2)
    changes[len(changes) // 2] = Change(b"s", b"deadly", DeadlyValue(b"2"))
    writer.write(0, writer.cursor(0), at(2), changes)


def _limited(store: Store) -> None:
    """Says what came of a batch that the file had no room for, of the one before, and of it once there was room."""
    writer = store.writer()
    writer.write(0, None, at(1), batch(1))
    changes = [*batch(2), *(Change(b"s", b"big-%d" % i, bytes(4000)) for i in range(1000))]
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, most))
    try:
        writer.write(0, at(1), at(2), changes)
    except StoreUnavailableError as error:
        sys.stdout.write(f"{type(error).__name__}\n")
    sys.stdout.write(f"{(writer.read(0, b's', KEYS[:1])[0] or b'').decode()}\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    writer.write(0, at(1), at(2), changes)
    sys.stdout.write(f"{(writer.read(0, b's', KEYS[-1:])[0] or b'').decode()}\n")


def _reading(store: Store) -> None:
    lease = EnvironmentLease(store.folder / "store", StoreUnavailableError)
    with lease.reading() as transaction:
        transaction.get(b"key")
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    what, url, folder, namespace = sys.argv[1:]
    commands = {"once": _once, "forever": _forever, "half": _half, "limited": _limited, "reading": _reading}
    commands[what](Store(url, Path(folder), namespace))
