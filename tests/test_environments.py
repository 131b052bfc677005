"""LMDB environments, shared by threads and processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError

_OPEN_WRITE_CLOSE = """
import sys, threading
from pathlib import Path
from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError

def work():
    for number in range(100):
        lease = EnvironmentLease(Path(sys.argv[1]), StoreUnavailableError, (b"a", b"b"))
        with lease.writing() as transaction:
            transaction.put(b"key", b"%d" % number, db=lease.databases[b"a"])
        lease.close()

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.timeout(60)
def test_threads_and_processes_that_open_write_and_close_at_once_do_not_hang(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", _OPEN_WRITE_CLOSE, str(tmp_path)]) for _ in range(3)]
    try:
        assert [child.wait(40) for child in children] == [0, 0, 0]
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_users_of_a_path_share_one_environment_until_the_last_one_closes(tmp_path: Path) -> None:
    first, second = (EnvironmentLease(tmp_path, StoreUnavailableError) for _ in range(2))
    assert first.environment is second.environment

    first.close()
    first.close()  # once more changes nothing

    with second.writing() as transaction:
        transaction.put(b"key", b"value")
    second.close()


def test_a_folder_that_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailableError, match="file"):
        EnvironmentLease(tmp_path / "file" / "below", StoreUnavailableError)
