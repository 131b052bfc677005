"""Two threads whose clients get their first answers of a kind at the same moment."""

import threading
from typing import Any

import pytest
from kafka.protocol.metadata import ApiVersionsResponse, MetadataResponse
from kafka.protocol.producer import InitProducerIdResponse, ProduceResponse

from serving.bus.kafka.clients import KafkaClients

_BOUND_S = 10.0
ANSWERS = (ApiVersionsResponse, MetadataResponse, InitProducerIdResponse, ProduceResponse)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_answers_are_decoded_although_two_threads_made_their_decoder_at_once(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    KafkaClients(["127.0.0.1:9092"])
    version = answer.max_version
    data = bytes(answer(version=version).encode())
    monkeypatch.setattr(answer._struct, "_compiled_encoders", {})
    turns = _Turns(answer._struct.untagged_fields)
    monkeypatch.setattr(answer._struct, "untagged_fields", turns.at_the_beginning_of_making_one)

    first = threading.Thread(target=turns.be_first, args=(answer, data, version))
    second = threading.Thread(target=turns.be_second, args=(answer, data, version))
    for thread in (first, second):
        thread.start()
    for thread in (first, second):
        thread.join()

    assert answer.decode(data, version=version) == answer(version=version)


class _Turns:
    """The first begins to make its decoder, then the second does, then the first ends, then the second."""

    def __init__(self, fields: Any) -> None:
        self._fields = fields
        self._first: threading.Thread | None = None
        self._first_began = threading.Event()
        self._second_began = threading.Event()
        self._first_ended = threading.Event()

    def be_first(self, answer: Any, data: bytes, version: int) -> None:
        self._first = threading.current_thread()
        _decode(answer, data, version)
        self._first_ended.set()

    def be_second(self, answer: Any, data: bytes, version: int) -> None:
        self._first_began.wait(_BOUND_S)
        _decode(answer, data, version)

    def at_the_beginning_of_making_one(self, version: int) -> Any:
        # A library that lets them make it one after the other ends these waits by their bound.
        if threading.current_thread() is self._first:
            self._first_began.set()
            self._second_began.wait(_BOUND_S)
        elif not self._second_began.is_set():
            self._second_began.set()
            self._first_ended.wait(_BOUND_S)
        return self._fields(version)


def _decode(answer: Any, data: bytes, version: int) -> None:
    try:
        answer.decode(data, version=version)
    except TypeError:  # what a spoilt decoder raises, on a thread of the library's
        return
