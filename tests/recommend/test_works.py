"""What is kept of versions and their shapes, and that it ends with them."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.models.seen import Seen
from serving.recommend.rooms import Rooms
from serving.recommend.works import Works
from tests.builders.bundles import again, load
from tests.builders.graphs import doubler, positives

FLOAT = np.dtype(np.float32)
MEGABYTE = (1 << 20) // FLOAT.itemsize


def test_work_goes_with_its_version(tmp_path: Path) -> None:
    works, kept = Works(), load(tmp_path, graph=positives())
    gone = again(kept)
    inputs = [("x", "FP32", (1,))]
    of_kept, answering = works.tensors(kept, inputs, ("y",)), works.answering(kept)
    seen: list[weakref.ref[Any]] = [
        weakref.ref(works.tensors(gone, inputs, ("y",))),
        weakref.ref(works.answering(gone)),
        weakref.ref(gone),
    ]
    assert works.tensors(gone, inputs, ("y",)) is not of_kept
    del gone
    gc.collect()
    assert [ref() for ref in seen] == [None, None, None]
    assert works.tensors(kept, inputs, ("y",)) is of_kept
    assert works.answering(kept) is answering


def test_how_long_runs_take_is_known_from_the_first_on_for_shapes_that_were_seen(tmp_path: Path) -> None:
    works, loaded = Works(), load(tmp_path, graph=doubler(("batch", "width")))
    assert not works.tensors(loaded, [("x", "FP32", (1, 2))], ("y",)).pace.known
    loaded = again(loaded)
    loaded.seen = Seen(16, 0.016, {"x": (2,)})
    assert works.tensors(loaded, [("x", "FP32", (7, 2))], ("y",)).pace.seconds(32) == pytest.approx(0.032)
    assert not works.tensors(loaded, [("x", "FP32", (7, 3))], ("y",)).pace.known, "it may take longer"
    assert not works.answering(loaded).pace.known, "features and encoding take their time, too"


def test_an_owner_finds_its_array_again() -> None:
    rooms, owner = Rooms(), object()
    room = rooms.room(owner, "x", MEGABYTE, FLOAT)
    assert rooms.room(owner, "x", 10, FLOAT).base is room
    assert not np.shares_memory(rooms.room(owner, "y", MEGABYTE, FLOAT), room)
    assert not np.shares_memory(rooms.room(object(), "x", MEGABYTE, FLOAT), room)
    larger = rooms.room(owner, "x", 2 * MEGABYTE, FLOAT)
    assert np.shares_memory(rooms.room(owner, "x", MEGABYTE, FLOAT), larger)
    assert rooms.nbytes == 4 << 20


def test_whatever_shapes_come_no_more_is_kept_than_there_is_room_for() -> None:
    rooms, busy = Rooms(), object()
    first = rooms.room(busy, "x", MEGABYTE, FLOAT)
    for _ in range(1_000):
        rooms.room(object(), "x", 2 * MEGABYTE, FLOAT)
        assert np.shares_memory(rooms.room(busy, "x", MEGABYTE, FLOAT), first), "who runs often keeps its array"
        assert rooms.nbytes <= 64 << 20
    assert rooms.nbytes > 60 << 20
    rooms.room(object(), "x", 17 * MEGABYTE, FLOAT)
    assert np.shares_memory(rooms.room(busy, "x", MEGABYTE, FLOAT), first), "a very large one is not kept"
