"""What serves just now, and who holds it."""

import threading
from pathlib import Path

import pytest

from protos.records import MILLION, Share
from protos.traffic import version_for
from serving.errors import NotFoundError, UnavailableError
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveModel, ActiveTable
from tests.builders.bundles import load, serve
from tests.builders.graphs import doubler


def version(folder: Path, number: int) -> LoadedModel:
    return load(folder / str(number), "m", number, doubler())


def test_an_unknown_model_is_not_found_and_one_that_is_not_ready_is_unavailable() -> None:
    table = ActiveTable()
    with pytest.raises(NotFoundError, match=r"^model 'm': not announced"), table.lease("m"):
        pass
    table.swap(ActiveModel("m", (), (), {}))
    with pytest.raises(UnavailableError, match=r"^model 'm': no version of it is ready"), table.lease("m"):
        pass


def test_a_lease_names_the_version_by_entity_by_number_or_the_main_one(tmp_path: Path) -> None:
    table, versions = ActiveTable(), {n: version(tmp_path, n) for n in (1, 2)}
    shares = (Share(2, 400_000), Share(1, 600_000))
    table.swap(ActiveModel("m", shares, shares, versions))
    with table.lease("m") as main, table.lease("m", version=2) as named:
        assert (main.version, named.version) == (1, 2)
    for entity in (b"%d" % i for i in range(50)):
        with table.lease("m", entity=entity) as loaded:
            assert loaded.version == version_for(shares, "m", entity)
    with pytest.raises(NotFoundError, match=r"^model 'm' version 3: expected one that serves \(1, 2\)$"):
        table.lease("m", version=3).__enter__()


def test_draining_waits_for_the_leases_and_tells_once(tmp_path: Path) -> None:
    loaded, idle = version(tmp_path, 1), list[int]()
    assert loaded.acquire()
    assert loaded.acquire()
    loaded.drain(lambda: idle.append(1))
    assert not loaded.acquire()
    loaded.release()
    assert idle == []
    loaded.release()
    assert idle == [1]


def test_draining_what_nobody_holds_tells_at_once(tmp_path: Path) -> None:
    loaded, idle = version(tmp_path, 1), list[int]()
    loaded.drain(lambda: idle.append(1))
    assert idle == [1]


def test_a_lease_ends_when_its_user_fails(tmp_path: Path) -> None:
    table, loaded = ActiveTable(), version(tmp_path, 1)
    serve(table, loaded)
    with pytest.raises(ZeroDivisionError), table.lease("m"):
        raise ZeroDivisionError
    idle = list[int]()
    loaded.drain(lambda: idle.append(1))
    assert idle == [1]


def test_under_concurrent_swaps_nobody_holds_a_version_that_was_freed(tmp_path: Path) -> None:
    table, model = ActiveTable(), version(tmp_path, 1)
    first = LoadedModel("m", 1, model.digest, model.bundle, model.session)
    table.swap(ActiveModel("m", (Share(1, MILLION),), (Share(1, MILLION),), {1: first}))
    freed, errors, done = set[int](), list[str](), threading.Event()

    def use() -> None:
        while not done.is_set():
            with table.lease("m") as loaded:
                if loaded.version in freed:
                    errors.append(f"version {loaded.version} was freed")

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    before = first
    for number in range(2, 1_000):
        after = LoadedModel("m", number, model.digest, model.bundle, model.session)
        table.swap(ActiveModel("m", (Share(number, MILLION),), (Share(number, MILLION),), {number: after}))
        before.drain(lambda number=number: freed.add(number - 1))  # type: ignore[misc]  # mypy infers no default
        before = after
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(freed) == 998
