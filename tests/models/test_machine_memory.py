"""The memory of the machine, or of the container: as the kernel's files tell, of both versions of control groups."""

from pathlib import Path

import psutil
import pytest

from serving.models.machine_memory import default_budget, free_bytes, total_bytes

MIB = 1 << 20


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A file system with what the kernel would show."""
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(root: Path) -> Path:
    return machine(
        root,
        "0::/pods/one\n",
        {
            "sys/fs/cgroup/pods/memory.max": f"{256 * MIB}\n",
            "sys/fs/cgroup/pods/memory.current": f"{100 * MIB}\n",
            "sys/fs/cgroup/pods/one/memory.max": "max\n",
        },
    )


def v1(root: Path) -> Path:
    return machine(
        root,
        "4:cpu,cpuacct:/x\n3:memory:/docker/abc\n",  # the mount shows what is below that path only
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 * MIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{200 * MIB}\n",
            "sys/fs/cgroup/memory/memory.stat": f"cache 1\ninactive_file 1\ntotal_inactive_file {100 * MIB}\n",
        },
    )


def unlimited(root: Path) -> Path:
    return machine(root, "3:memory:/\n", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})


@pytest.mark.parametrize("make", [v2, v1])
def test_a_container_has_what_its_group_may_take_and_caches_count_as_free(make: type, tmp_path: Path) -> None:
    root = make(tmp_path)
    assert total_bytes(root) == 256 * MIB
    assert free_bytes(root) == 156 * MIB


def test_a_group_without_a_limit_has_what_the_machine_has(tmp_path: Path) -> None:
    assert total_bytes(unlimited(tmp_path)) == psutil.virtual_memory().total


def test_a_system_without_groups_has_what_the_machine_has(tmp_path: Path) -> None:
    assert total_bytes(tmp_path) == psutil.virtual_memory().total
    assert 0 < free_bytes(tmp_path) <= total_bytes(tmp_path)


def test_the_workers_of_a_node_share_four_fifths_of_it(tmp_path: Path) -> None:
    assert 4 * default_budget(4, v2(tmp_path)) == pytest.approx(0.8 * 256 * MIB, abs=8)


def test_this_machine_has_some() -> None:
    assert 0 < free_bytes() <= total_bytes()
