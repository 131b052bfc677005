"""LMDB environments, shared by threads and processes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.environments import Durability, EnvironmentLease
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


def test_threads_and_processes_that_open_write_and_close_at_once_do_not_hang(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", _OPEN_WRITE_CLOSE, str(tmp_path)]) for _ in range(3)]
    try:
        assert [child.wait(200) for child in children] == [0, 0, 0]
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


def lease(path: Path, boot: str, durability: Durability = "process") -> EnvironmentLease:
    return EnvironmentLease(path, StoreUnavailableError, durability=durability, boot=boot)


def put(environment: EnvironmentLease, value: bytes) -> None:
    with environment.writing() as transaction:
        transaction.put(b"key", value)


def got(environment: EnvironmentLease) -> object:
    with environment.reading() as transaction:
        return transaction.get(b"key")


_WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError

lease = EnvironmentLease(Path(sys.argv[1]), StoreUnavailableError, durability=sys.argv[2], boot=sys.argv[3])
with lease.writing() as transaction:
    transaction.put(b"key", b"value")
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_die(path: Path, boot: str, durability: Durability = "process") -> None:
    """What a killed process, or one on a machine that lost power, leaves."""
    child = [sys.executable, "-c", _WRITE_AND_DIE, str(path), durability, boot]
    assert subprocess.run(child, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("afterwards", ["batch", "process"])
def test_after_a_power_loss_what_was_written_unsynced_is_moved_aside(tmp_path: Path, afterwards: Durability) -> None:
    write_and_die(tmp_path, "boot 1")
    with capture_logs() as logs:
        environment = lease(tmp_path, "boot 2", afterwards)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("environment.distrusted", "error")]
    assert got(environment) is None
    assert (tmp_path / "data.mdb.distrusted").stat().st_size > 0
    put(environment, b"new")
    environment.close()

    environment = lease(tmp_path, "boot 3", afterwards)
    assert got(environment) == b"new"
    environment.close()


def test_a_killed_process_loses_nothing_while_the_machine_runs(tmp_path: Path) -> None:
    write_and_die(tmp_path, "boot 1")
    environment = lease(tmp_path, "boot 1")
    assert got(environment) == b"value"
    environment.close()

    environment = lease(tmp_path, "boot 2")  # closed by its last user, so synced
    assert got(environment) == b"value"
    environment.close()


def test_what_was_written_synced_is_believed_after_a_power_loss(tmp_path: Path) -> None:
    write_and_die(tmp_path, "boot 1", "batch")
    environment = lease(tmp_path, "boot 2")
    assert got(environment) == b"value"
    environment.close()


def test_a_process_that_closes_while_another_goes_on_does_not_vouch_for_it(tmp_path: Path) -> None:
    environment = lease(tmp_path, "boot 1")
    write_and_die(tmp_path, "boot 1")
    close = """
import sys
from pathlib import Path
from serving.environments import EnvironmentLease
from serving.errors import StoreUnavailableError
EnvironmentLease(Path(sys.argv[1]), StoreUnavailableError, durability="process", boot="boot 1").close()
"""
    subprocess.run([sys.executable, "-c", close, str(tmp_path)], check=True)
    assert (tmp_path / "boot-id").read_text() == "boot 1"
    environment.close()
    assert not (tmp_path / "boot-id").exists()


def test_only_the_last_distrusted_file_is_kept(tmp_path: Path) -> None:
    for boot in ("boot 1", "boot 2", "boot 3"):
        write_and_die(tmp_path, boot)
    assert len(list(tmp_path.glob("*.distrusted*"))) == 1


def test_the_machine_names_its_boot_itself(tmp_path: Path) -> None:
    environment = EnvironmentLease(tmp_path, StoreUnavailableError, durability="process")
    assert (tmp_path / "boot-id").read_text() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    environment.close()


def test_a_close_that_cannot_sync_is_told_and_leaves_the_mark(tmp_path: Path) -> None:
    environment = lease(tmp_path, "boot 1")
    put(environment, b"value")
    (tmp_path / "boot-id").unlink()
    (tmp_path / "boot-id").mkdir()  # so that it cannot be taken away
    with capture_logs() as logs:
        environment.close()
    assert [entry["event"] for entry in logs] == ["environment.unsynced"]
    (tmp_path / "boot-id").rmdir()
    environment = lease(tmp_path, "boot 1")
    assert got(environment) == b"value"
    environment.close()
