"""One table from our errors to gRPC status codes."""

import pytest
from grpc import StatusCode

from protos.nearline.v1 import status_pb2
from serving import errors
from serving.rpc.errors import Code, status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequestError("k", "a number", "x"), Code.INVALID_ARGUMENT),
        (errors.NotFoundError("no"), Code.NOT_FOUND),
        (errors.ConflictError("no"), Code.ABORTED),
        (errors.UserError("no"), Code.FAILED_PRECONDITION),
        (errors.UnavailableError("no"), Code.UNAVAILABLE),
        (errors.BusUnavailableError("no"), Code.UNAVAILABLE),
        (errors.StoreUnavailableError("no"), Code.UNAVAILABLE),
        (errors.ArtifactUnavailableError("no"), Code.UNAVAILABLE),
        (errors.OverloadedError("no"), Code.RESOURCE_EXHAUSTED),
        (errors.ExpiredError("no"), Code.DEADLINE_EXCEEDED),
        (errors.PositionConflictError("no"), Code.INTERNAL),
        (errors.ModelError(status_pb2.LOAD, "no"), Code.INTERNAL),
        (errors.ModelInputError(status_pb2.LOAD, "no"), Code.INTERNAL),
        (errors.NearlineError("no"), Code.INTERNAL),
    ],
)
def test_each_error_has_its_code_and_keeps_its_words(error: Exception, code: Code) -> None:
    assert status_of(error) == (code, str(error))


def test_a_defect_shows_its_type_and_keeps_its_words_to_the_log() -> None:
    code, message = status_of(ZeroDivisionError("secret"))
    assert code is Code.INTERNAL
    assert "ZeroDivisionError" in message
    assert "secret" not in message


def test_every_error_of_the_tree_has_a_code() -> None:
    waiting, found = [errors.NearlineError], []
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    for kind in found:
        assert status_of(kind.__new__(kind))[0] is not Code.OK


def test_the_numbers_are_those_of_grpc() -> None:
    numbers = {code.name: code.value[0] for code in StatusCode}
    assert {code.name: code.value for code in Code}.items() <= numbers.items()


def test_what_may_succeed_later_says_so() -> None:
    assert errors.StoreUnavailableError("x").retriable
    assert not errors.NotFoundError("x").retriable
