"""What the models of a worker may take together."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from serving.models.memory import ANY, ModelMemory, NoRoomError, Taken
from serving.models.promises import Promises
from tests.builders.waiting import DEADLINE_S, wait_until

MIB = 1 << 20


def refusal(memory: ModelMemory, size: int) -> NoRoomError:
    with pytest.raises(NoRoomError) as caught:
        memory.take("m/2", size)
    assert caught.value.kind == status_pb2.RESOURCE
    return caught.value


def test_what_does_not_fit_beside_what_is_loaded_is_told_with_all_figures_and_may_be_tried_again() -> None:
    memory = ModelMemory(100 * MIB)
    memory.take("m/1", 70 * MIB)
    error = refusal(memory, 31 * MIB)
    assert (error.rejected, error.short_bytes) == (False, MIB)
    assert str(error) == (
        "memory: expected at most 30.0 MiB, what is left of 100.0 MiB beside m/1 70.0 MiB, got 31.0 MiB of m/2"
    )
    assert memory.used_bytes == 70 * MIB


def test_what_never_fits_is_rejected() -> None:
    error = refusal(ModelMemory(100), 101)
    assert (error.rejected, "the budget of a worker's models" in str(error)) == (True, True)


def test_what_is_given_back_can_be_taken_again_and_counts_once() -> None:
    memory = ModelMemory(100)
    first = memory.take("m/1", 100)
    first.give_back()
    first.give_back()
    memory.take("m/2", 100)
    assert memory.used_bytes == 100


def test_what_the_machine_has_free_counts_too_where_nobody_said_how_much_there_is() -> None:
    error = refusal(ModelMemory(100, lambda: 10), 11)
    assert (error.rejected, "what this machine has free" in str(error)) == (False, True)
    ModelMemory(100, lambda: 10).take("m/2", 10)


def test_what_is_promised_to_models_that_are_being_loaded_is_not_free_any_more() -> None:
    memory = ModelMemory(1_000, lambda: 100)
    first = memory.take("m/1", 60)
    assert not refusal(memory, 60).rejected
    first.there()  # by now the machine has less, which `free` tells
    memory.take("m/2", 60)


def test_what_is_promised_to_other_workers_of_the_node_is_not_free_any_more_while_they_live(tmp_path: Path) -> None:
    one, two = (ModelMemory(1_000, lambda: 100, Promises(tmp_path, worker)) for worker in ("one", "two"))
    first = one.take("m/1", 60)
    assert refusal(two, 60).short_bytes == 20
    first.there()
    second = two.take("m/1", 60)
    assert not refusal(one, 60).rejected
    second.give_back()
    one.take("m/2", 60)

    script = "import sys; from pathlib import Path; from serving.models.promises import Promises as P; "
    dies = "promises = P(Path(sys.argv[1]), 'three'); promises.say(100); print(promises.of_others())"
    done = subprocess.run([sys.executable, "-c", script + dies, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "60"
    assert Promises(tmp_path, "two").of_others() == 60, "nothing is promised to the dead"


def test_a_worker_need_not_wait_for_one_of_its_name_that_hangs(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from serving.models.promises import Promises as P; "
    hangs = "promises = P(Path(sys.argv[1]), 'one'); promises.say(100); print('said', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script + hangs, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == b"said\n"
        next_one = Promises(tmp_path, "one")
        next_one.say(60)
        assert next_one.of_others() == 100
        hung.communicate(b"")
    assert next_one.of_others() == 0
    assert len(list(tmp_path.glob("*.bytes"))) == 1, "what a dead one left is cleared away"


def test_of_workers_that_decide_at_once_only_as_many_take_as_fit(tmp_path: Path) -> None:
    begin = threading.Barrier(8)
    workers = [ModelMemory(1_000, lambda: 100, Promises(tmp_path, str(number))) for number in range(8)]

    def take(memory: ModelMemory) -> bool:
        begin.wait()
        try:
            memory.take("m/1", 30)
        except NoRoomError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, workers)) == 3


def test_without_a_budget_everything_fits() -> None:
    memory = ModelMemory(ANY, lambda: 0)
    memory.take("m/1", 1 << 60)
    assert memory.used_bytes == 1 << 60


def test_who_waits_gets_it_once_it_is_given_back() -> None:
    memory = ModelMemory(100)
    first = memory.take("m/1", 60)
    found: list[Taken | None] = []
    waiter = threading.Thread(target=lambda: found.append(memory.take_soon("m/2", 60, DEADLINE_S, lambda: True)))
    waiter.start()
    assert memory.used_bytes == 60
    first.give_back()
    waiter.join(DEADLINE_S)
    assert found
    assert memory.used_bytes == 60


def test_who_waits_in_vain_is_told_so_and_who_is_not_wanted_any_more_gets_nothing() -> None:
    memory = ModelMemory(100)
    memory.take("m/1", 60)
    with pytest.raises(NoRoomError):
        memory.take_soon("m/2", 60, 0, lambda: True)
    assert memory.take_soon("m/2", 60, DEADLINE_S, lambda: False) is None
    assert memory.used_bytes == 60


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=30))
def test_it_never_gives_more_than_the_budget(steps: list[tuple[int, bool]]) -> None:
    memory = ModelMemory(100)
    held: list[Taken] = []
    for size, give_back in steps:
        if give_back and held:
            held.pop(0).give_back()
        left = 100 - sum(taken.size for taken in held)
        if size <= left:
            held.append(memory.take("m", size))
        else:
            assert refusal(memory, size).short_bytes == size - left
        assert memory.used_bytes == sum(taken.size for taken in held) <= 100


def test_many_threads_never_have_more_than_the_budget_together() -> None:
    memory, most = ModelMemory(10), [0]

    def load() -> None:
        for _ in range(200):
            taken = memory.take_soon("m", 3, DEADLINE_S, lambda: True)
            assert taken is not None
            most[0] = max(most[0], memory.used_bytes)
            taken.give_back()

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    wait_until(lambda: memory.used_bytes == 0)
    assert 0 < most[0] <= 9
