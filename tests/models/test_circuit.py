"""When a version that runs is taken away, and when it is not."""

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.circuit import Circuit, Tolerance

NAN = ModelError(status_pb2.RUN, "NaN")


def watched(failures: int = 3, rows: int = 10) -> tuple[Circuit, list[ModelError]]:
    told: list[ModelError] = []
    circuit = Circuit(Tolerance(failures, rows))
    circuit.watch(told.append)
    return circuit, told


def test_too_many_failed_rows_are_told_once() -> None:
    circuit, told = watched()
    circuit.passed(2)
    for _ in range(5):
        circuit.failed(NAN, 1)
    assert [(str(error), error.kind, error.rejected) for error in told] == [
        ("3 of 5 rows failed: NaN", status_pb2.RUN, True)
    ]


def test_few_failed_rows_among_many_are_borne() -> None:
    circuit, told = watched()
    for _ in range(20):
        circuit.failed(NAN, 1)
        circuit.passed(9)
    assert told == []


def test_a_run_of_several_rows_that_fails_counts_when_its_rows_do() -> None:
    circuit, told = watched()
    for _ in range(20):
        circuit.failed(NAN, 64)
    assert told == []


def test_a_tolerance_of_no_failures_is_none_at_all() -> None:
    circuit, told = watched(failures=0)
    for _ in range(20):
        circuit.failed(NAN, 1)
    assert told == []


def test_what_others_found_out_before_anybody_watched_is_told_to_who_watches() -> None:
    circuit, told = Circuit(), list[ModelError]()
    error = ModelError(status_pb2.CRASH, "it ended workers", rejected=True)
    circuit.trip(error)
    circuit.watch(told.append)
    assert told == [error]
