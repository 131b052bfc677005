"""Alike requests of one read, which a handler begins with together."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from random import Random
from typing import cast

import pytest
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import OverloadedError, UnavailableError
from serving.recommend.ready import Ready
from serving.rpc.method import Abandon, AnsweringAll
from serving.rpc.native.party import Party
from serving.rpc.native.queues import FullQueues
from serving.rpc.native.round import Round
from tests.rpc.native.test_overload import Clock
from tests.rpc.native.test_quick import Client, played

OK, EXPIRED, SHED, AWAY = "0", "4", "8", "14"


def ask(client: Client, *messages: bytes, more: Sequence[tuple[str, str]] = ()) -> list[int]:
    return [client.ask(message, more, name="All") for message in messages]


def counted(client: Client, code: str) -> float:
    client.house.flush()
    labels = {"method": "All", "code": code}
    return client.registry.get_sample_value("nearline_requests_total", labels) or 0


@given(
    st.lists(st.binary(max_size=2000).filter(lambda message: b"refused" not in message), min_size=1, max_size=80),
    st.sampled_from([0, 1, 1000, 65_535]),
    st.randoms(),
)
def test_each_gets_its_answer_whatever_the_windows(messages: list[bytes], window: int, random: Random) -> None:
    def scene() -> None:
        client = Client(window)
        asked = dict(zip(ask(client, *messages), messages, strict=True))
        client.carry()
        touched = [stream for stream in asked if random.random() < 0.2]
        for stream in touched:  # which makes the connection keep a stream for it
            client.h2.increment_flow_control_window(1, stream)
        client.carry()
        random.shuffle(client.stage.parties)
        for party, answering in client.stage.parties:
            answering.give(party)
        for message, alone in client.stage.waiting:
            alone.give(message)
        client.carry()
        if not window:
            for stream in asked.keys() - client.statuses.keys():
                client.h2.increment_flow_control_window(1 << 20, stream)
            client.carry()
        assert {stream: body[5:] for stream, body in client.bodies.items()} == asked
        assert set(client.statuses.items()) == {(stream, OK) for stream in asked}
        assert sorted(client.stage.abandoned) == sorted(asked.values())
        assert counted(client, "OK") == len(asked)
        client.exchange.account()
        assert client.settled()

    played(scene)


def test_those_that_expire_at_another_moment_are_another_party() -> None:
    def scene() -> None:
        client = Client(65_535)
        for timeout in ("1S", "2S", "1S", "1001m", "2S"):
            ask(client, timeout.encode(), more=[("grpc-timeout", timeout)])
        ask(client, b"ever", b"and ever")
        client.carry()
        together = [messages for messages, _ in client.stage.parties]
        assert together == [(b"1S", b"1S", b"1001m"), (b"2S", b"2S"), (b"ever", b"and ever")]

    played(scene)


def test_answers_that_are_not_taken_are_bounded_and_only_what_is_beyond_is_refused() -> None:
    def scene() -> None:
        client = Client(0)
        limit = client.house.limits.connection.buffered_bytes
        streams = ask(client, b"1", b"2", b"3", b"4")
        client.carry()
        answer = bytes(limit // 5 * 2)
        client.stage.parties[0][1].give([answer, answer, answer, None])
        client.carry()
        assert client.statuses == {streams[2]: SHED}
        assert client.house.running == 1, "the last one waits on"
        assert client.exchange.connection.outbox.queued < limit
        client.exchange.cancel_all()

    played(scene)


def test_one_that_is_given_up_gets_no_answer_and_the_others_do() -> None:
    def scene() -> None:
        client = Client(65_535)
        first, second, third = ask(client, b"1", b"2", b"3")
        client.carry()
        client.h2.reset_stream(second)
        client.carry()
        assert client.house.running == 2
        ((messages, answering),) = client.stage.parties
        answering.give(messages)
        client.carry()
        assert client.statuses == {first: OK, third: OK}
        assert (counted(client, "CANCELLED"), counted(client, "OK")) == (1, 2)
        assert client.settled()

    played(scene)


def test_when_all_are_given_up_nobody_waits_any_more() -> None:
    def scene() -> None:
        client = Client(65_535)
        streams = ask(client, b"1", b"2")
        client.carry()
        for stream in streams:
            client.h2.reset_stream(stream)
        client.carry()
        assert client.stage.abandoned == [b"1", b"2"]
        ((messages, answering),) = client.stage.parties
        answering.give(messages)
        answering.fail(UnavailableError("late"))
        answering.apart()
        client.carry()
        assert client.statuses == {}
        assert counted(client, "CANCELLED") == 2
        assert client.settled()

    played(scene)


@pytest.mark.parametrize("within", [True, False])
def test_answers_and_errors_of_single_ones_may_come_in_parts(within: bool) -> None:
    def scene() -> None:
        client = Client(65_535)
        kept: list[AnsweringAll] = []

        def begin(messages: Sequence[bytes], _deadline: float | None, answering: AnsweringAll) -> Abandon | None:
            kept.append(answering)
            if within:
                answering.give([messages[0], UnavailableError("away"), None, None])
            return lambda: client.stage.abandoned.append(b"all")

        client.house.routes[b"/t.T/All"].together = begin
        streams = ask(client, b"1", b"2", b"3", b"4")
        client.carry()
        if not within:
            kept[0].give([b"1", UnavailableError("away"), None, None])
            client.carry()
        assert client.statuses == {streams[0]: OK, streams[1]: AWAY}
        assert (client.house.running, client.stage.abandoned) == (2, [])
        kept[0].give([None, None, b"3", b"4"])
        client.carry()
        assert client.statuses == {streams[0]: OK, streams[1]: AWAY, streams[2]: OK, streams[3]: OK}
        assert client.stage.abandoned == [b"all"]
        assert (counted(client, "OK"), counted(client, "UNAVAILABLE")) == (3, 1)
        assert client.settled()

    played(scene)


def test_an_error_that_all_have_is_told_to_each() -> None:
    def scene() -> None:
        client = Client(65_535)
        streams = ask(client, b"1", b"2", b"3")
        client.carry()
        client.h2.increment_flow_control_window(1, streams[1])
        client.carry()
        client.stage.parties[0][1].fail(UnavailableError("away"))
        client.carry()
        assert client.statuses == dict.fromkeys(streams, AWAY)
        assert client.stage.abandoned == [b"1", b"2", b"3"]
        assert counted(client, "UNAVAILABLE") == 3
        assert client.settled()

    played(scene)


def test_what_cannot_be_answered_together_is_asked_for_one_by_one() -> None:
    async def scene() -> None:
        client = Client(65_535)
        said = {word: HealthCheckRequest(service=word).SerializeToString() for word in ("a", "b", "c")}
        streams = ask(client, *said.values())
        client.carry()
        client.h2.increment_flow_control_window(1, streams[1])
        client.carry()
        client.stage.parties[0][1].apart()
        assert client.stage.abandoned == list(said.values())
        while len(client.statuses) < 3:
            await asyncio.sleep(0)
            client.carry()
        assert client.statuses == dict.fromkeys(streams, OK)
        assert [client.bodies[stream][5:] for stream in streams] == list(said.values())
        assert client.settled()

    asyncio.run(scene())


def test_a_deadline_ends_all_of_them() -> None:
    async def scene() -> None:
        client = Client(65_535)
        streams = ask(client, b"1", b"2", more=[("grpc-timeout", "1m")])
        client.carry()
        while not client.statuses:
            await asyncio.sleep(0.001)
            client.carry()
        assert client.statuses == dict.fromkeys(streams, EXPIRED)
        assert client.stage.abandoned == [b"1", b"2"]
        assert client.settled()

    asyncio.run(scene())


def test_a_connection_that_ends_abandons_them() -> None:
    def scene() -> None:
        client = Client(65_535)
        ask(client, b"1", b"2")
        client.carry()
        client.exchange.cancel_all()
        assert client.stage.abandoned == [b"1", b"2"]
        assert client.house.running == 0
        assert counted(client, "CANCELLED") == 2

    played(scene)


def test_a_server_that_ends_tells_each() -> None:
    def scene() -> None:
        client = Client(65_535)
        streams = ask(client, b"1", b"2")
        client.carry()
        client.exchange.fail_all(UnavailableError("the server stops"))
        client.carry()
        assert client.statuses == dict.fromkeys(streams, AWAY)
        assert client.settled()

    played(scene)


def test_those_that_are_not_alike_are_begun_by_themselves() -> None:
    def scene() -> None:
        client = Client(65_535)
        refused, other = ask(client, b"refused", b"other")
        client.carry()
        assert client.stage.parties == []
        assert [message for message, _ in client.stage.waiting] == [b"other"]
        assert client.statuses == {refused: "3"}
        client.stage.waiting[0][1].give(b"x")
        client.carry()
        assert client.statuses == {refused: "3", other: OK}
        assert client.settled()

    played(scene)


def test_where_there_is_room_for_some_only_those_are_let_in() -> None:
    def scene() -> None:
        client = Client(65_535)
        client.house.running = client.house.limits.running_calls - 2
        streams = ask(client, b"1", b"2", b"3")
        client.carry()
        assert client.stage.parties == []
        assert [message for message, _ in client.stage.waiting] == [b"1", b"2"]
        assert client.statuses == {streams[2]: SHED}

    played(scene)


def count(client: Client, name: str, **labels: str) -> float | None:
    client.house.flush()
    return client.registry.get_sample_value(name, labels)


def test_where_there_is_no_room_at_all_each_is_told_and_counted_though_nothing_is_done_for_it() -> None:
    def scene() -> None:
        client = Client(65_535)
        client.house.running = client.house.limits.running_calls
        streams = ask(client, *(b"%d" % n for n in range(40)))
        client.carry()
        assert not client.stage.parties
        assert not client.stage.waiting
        assert client.statuses == dict.fromkeys(streams, SHED)
        assert count(client, "nearline_rpc_limits_total", limit="running_calls") == 40
        assert count(client, "nearline_requests_total", method="All", code="RESOURCE_EXHAUSTED") == 40

    played(scene)


def test_once_a_group_has_taken_the_last_room_the_others_of_the_read_are_told() -> None:
    def scene() -> None:
        client = Client(65_535)
        client.house.running = client.house.limits.running_calls - 16
        streams = ask(client, *(b"%d" % n for n in range(40)))
        client.carry()
        assert [len(party) for party, _ in client.stage.parties] == [16]
        assert client.statuses == dict.fromkeys(streams[16:], SHED)
        assert count(client, "nearline_rpc_limits_total", limit="running_calls") == 24

    played(scene)


def test_where_the_queue_has_no_room_for_all_it_is_asked_for_each() -> None:
    def scene() -> None:
        client = Client(65_535)
        route = client.house.routes[b"/t.T/All"]

        def full(_messages: Sequence[bytes], _deadline: float | None, _answering: AnsweringAll) -> Abandon | None:
            raise OverloadedError("full", 1.0, 2.0, "m")

        route.together = full
        streams = ask(client, b"1", b"2")
        client.carry()
        assert [message for message, _ in client.stage.waiting] == [b"1", b"2"]
        for message, answering in client.stage.waiting:
            answering.give(message)
        client.carry()
        assert client.statuses == dict.fromkeys(streams, OK)
        assert client.settled()

    played(scene)


def shedding(client: Client) -> None:
    """The queue of messages that begin with `a` is known to be full for a second."""
    route = client.house.routes[b"/t.T/All"]
    route.queue = lambda message, /, *, sure=False: b"" if sure else message[:1]
    client.house.full_queues, client.house.round = FullQueues(lambda: 0.0), Round(lambda: 0.0)
    client.house.full_queues.learn((route, b"a"), OverloadedError("full", 1.0, 2.0, "m"))


@pytest.mark.parametrize("late", [False, True], ids=["a full queue", "a loop that comes too late"])
def test_among_many_who_have_no_time_left_those_that_have_are_let_in(*, late: bool) -> None:
    def scene() -> None:
        client = Client(65_535)
        shedding(client)
        if late:
            client.house.full_queues = FullQueues()
            client.house.round = Round(clock := Clock())
            client.house.round.seconds()
            clock.now += 1.0
        timeouts = ["1S", "900m", "1S"] * 7 + ["2S"] + ["1S"] * 40 + ["2S"]
        streams = [
            client.ask(b"a%d" % number, [("grpc-timeout", timeout)], name="All")
            for number, timeout in enumerate(timeouts)
        ]
        client.carry()
        let_in = [number for number, timeout in enumerate(timeouts) if timeout == "2S"]
        assert [party for party, _ in client.stage.parties] == [tuple(b"a%d" % number for number in let_in)]
        assert client.statuses == {stream: SHED for number, stream in enumerate(streams) if number not in let_in}
        assert counted(client, "RESOURCE_EXHAUSTED") == len(streams) - len(let_in)
        metric, labels = (
            ("nearline_rpc_limits_total", {"limit": "wait_s"})
            if late
            else ("nearline_online_refused_total", {"model": "m", "reason": "overload"})
        )
        assert count(client, metric, **labels) == len(streams) - len(let_in)
        client.exchange.cancel_all()

    played(scene)


def test_a_queue_that_is_full_says_nothing_of_another_that_is_full_for_less() -> None:
    def scene() -> None:
        client = Client(65_535)
        shedding(client)
        route = client.house.routes[b"/t.T/All"]
        client.house.full_queues.learn((route, b"b"), OverloadedError("full", 0.1, 2.0, "n"))
        calls = [(b"a", "1S")] * 18 + [(b"b", "10m"), (b"b", "1S"), (b"a", "1S"), (b"b", "1S")]
        asked = [client.ask(queue, [("grpc-timeout", timeout)], name="All") for queue, timeout in calls]
        client.carry()
        assert [party for party, _ in client.stage.parties] == [(b"b", b"b")]
        assert client.statuses == dict.fromkeys([*asked[:19], asked[20]], SHED)
        assert count(client, "nearline_online_refused_total", model="m", reason="overload") == 19
        assert count(client, "nearline_online_refused_total", model="n", reason="overload") == 1
        client.exchange.cancel_all()

    played(scene)


def test_those_who_come_after_others_have_filled_the_queue_get_what_needs_no_work() -> None:
    def scene() -> None:
        client = Client(65_535)
        route, spare = client.house.routes[b"/t.T/All"], Ready(b"spare")
        route.spare = lambda _message, _left_s: spare if client.stage.parties else None
        streams = ask(client, *(b"%d" % number for number in range(64)))
        client.carry()
        assert [len(party) for party, _ in client.stage.parties] == [16]
        assert client.statuses == dict.fromkeys(streams[16:], OK)
        assert {client.bodies[stream][5:] for stream in streams[16:]} == {b"spare"}
        client.exchange.cancel_all()

    played(scene)


def test_of_those_whose_queue_is_full_only_who_has_more_time_asks_and_all_others_are_told_and_counted() -> None:
    def scene() -> None:
        client = Client(65_535)
        shedding(client)
        calls = {
            b"a0": "900m",
            b"a1": "1S",
            b"a2": "800m",
            b"b3": "1S",
            b"a4": "2S",
            b"a5": "1S",
            b"b6": "1S",
            b"a7": "2S",
        }
        streams = {
            message: client.ask(message, [("grpc-timeout", timeout)], name="All") for message, timeout in calls.items()
        }
        client.carry()
        assert [party for party, _ in client.stage.parties] == [(b"b3", b"b6"), (b"a4", b"a7")]
        told = [b"a0", b"a1", b"a2", b"a5"]
        assert client.statuses == {streams[message]: SHED for message in told}
        assert counted(client, "RESOURCE_EXHAUSTED") == len(told)
        assert count(client, "nearline_online_refused_total", model="m", reason="overload") == len(told)
        for party, answering in client.stage.parties:
            answering.give(party)
        client.carry()
        assert client.settled()

    played(scene)


@pytest.mark.parametrize("end", ["give", "fail", "apart"])
def test_a_handler_may_end_them_while_it_begins(end: str) -> None:
    async def scene() -> None:
        client = Client(65_535)

        def begin(messages: Sequence[bytes], _deadline: float | None, answering: AnsweringAll) -> Abandon | None:
            match end:
                case "give":
                    answering.give(messages)
                case "fail":
                    answering.fail(UnavailableError("away"))
                case _:
                    answering.apart()
            return lambda: None

        client.house.routes[b"/t.T/All"].together = begin
        message: Message = HealthCheckRequest(service="a")
        streams = ask(client, message.SerializeToString(), message.SerializeToString())
        client.carry()
        while len(client.statuses) < 2:
            await asyncio.sleep(0)
            client.carry()
        assert client.statuses == dict.fromkeys(streams, AWAY if end == "fail" else OK)
        assert client.settled()

    asyncio.run(scene())


def test_nothing_of_them_is_left_for_the_garbage_collector() -> None:
    def scene() -> None:
        client = Client(65_535)
        ask(client, b"1", b"2")
        client.carry()
        ((messages, answering),) = client.stage.parties
        client.stage.parties.clear()
        party = weakref.ref(cast("Party", answering))
        gc.disable()
        try:
            answering.give(messages)
            del answering
            client.carry()
            assert party() is None
        finally:
            gc.enable()

    played(scene)
