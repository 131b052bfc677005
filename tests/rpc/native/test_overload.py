"""Who cannot be answered in time is told so before anything is done for them, and nobody else is."""

import pytest

from serving.errors import OverloadedError
from serving.recommend.ready import Ready
from serving.rpc.method import Abandon, Answering
from serving.rpc.native.queues import FullQueues
from serving.rpc.native.round import Round
from tests.rpc.native.test_quick import Client, played

SHED, OK = "8", "0"


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _queue(message: bytes, /, *, sure: bool = False) -> bytes:
    """The first byte; what ends with `?` is misleading, if one looks at all of it."""
    return b"" if sure and message.endswith(b"?") else message[:1]


class Overloaded:
    """A handler with a queue for each first byte; those named are full for `wait_s` seconds."""

    def __init__(self, client: Client, wait_s: float, full: bytes = b"a") -> None:
        self.asked: list[bytes] = []
        self.clock = Clock()
        self._wait_s = wait_s
        self._full = full
        client.house.full_queues, client.house.round = FullQueues(self.clock), Round(lambda: 0.0)
        route = client.house.routes[b"/t.T/Soon"]
        route.soon, route.queue = self.begin, _queue

    def begin(self, message: bytes, _deadline: float | None, answering: Answering) -> Abandon | None:
        self.asked.append(message)
        if message[:1] in self._full:
            raise OverloadedError("full", self._wait_s, 2.0, "m")
        answering.give(message)
        return lambda: None


def test_a_queue_that_is_full_is_not_asked_again_by_who_would_wait_for_less() -> None:
    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 1.0)
        first = client.ask(b"a1", [("grpc-timeout", "1S")], name="Soon")
        client.carry()
        again = [client.ask(b"a2", [("grpc-timeout", timeout)], name="Soon") for timeout in ("1S", "10m")]
        other = client.ask(b"b1", [("grpc-timeout", "10m")], name="Soon")
        client.carry()
        assert handler.asked == [b"a1", b"b1"]
        assert client.statuses == {first: SHED, **dict.fromkeys(again, SHED), other: OK}
        client.house.flush()
        labels = {"method": "Soon", "code": "RESOURCE_EXHAUSTED"}
        assert client.registry.get_sample_value("nearline_requests_total", labels) == 3
        refused = {"model": "m", "reason": "overload"}
        assert client.registry.get_sample_value("nearline_online_refused_total", refused) == 2, "the first by its queue"
        assert client.settled()

    played(scene)


def test_from_a_request_that_names_two_queues_nothing_is_learnt_of_either() -> None:
    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 1.0)
        calls = [client.ask(message, [("grpc-timeout", "1S")], name="Soon") for message in (b"a?", b"a?", b"a1", b"a2")]
        client.carry()
        assert handler.asked == [b"a?", b"a?", b"a1"]
        assert client.statuses == dict.fromkeys(calls, SHED)

    played(scene)


def test_who_has_more_time_asks() -> None:
    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 1.0)
        for more in ([("grpc-timeout", "1S")], [("grpc-timeout", "2S")], []):
            client.ask(b"a", more, name="Soon")
            client.carry()
        assert len(handler.asked) == 3

    played(scene)


def test_what_is_known_of_a_queue_is_soon_asked_anew() -> None:
    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 1.0)
        for passed, asked in ((0.0, 1), (0.02, 1), (0.04, 2), (0.04, 2)):
            handler.clock.now += passed
            client.ask(b"a", [("grpc-timeout", "100m")], name="Soon")
            client.carry()
            assert len(handler.asked) == asked
        assert set(client.statuses.values()) == {SHED}

    played(scene)


def test_a_refusal_for_another_reason_than_time_is_not_remembered() -> None:
    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 0.0)
        for _ in range(2):
            client.ask(b"a", [("grpc-timeout", "10m")], name="Soon")
            client.carry()
        assert len(handler.asked) == 2

    played(scene)


def test_what_the_loop_comes_to_too_late_is_not_begun() -> None:
    def scene() -> None:
        client = Client(65_535)
        client.house.round = Round(clock := Clock())
        ended = []
        for passed in (0.0, 0.5, 0.5, 1.1):
            clock.now += passed
            asked = [client.ask(b"a", more, name="Soon") for more in ([("grpc-timeout", "1S")], [])]
            client.carry()
            ended.append([client.statuses.get(stream) for stream in asked])
        assert ended == [[None, None], [None, None], [SHED, None], [SHED, SHED]]
        metric = "nearline_rpc_limits_total"
        assert client.registry.get_sample_value(metric, {"limit": "wait_s"}) == 3
        client.exchange.cancel_all()

    played(scene)


def test_who_has_no_more_time_than_one_that_was_refused_is_refused_with_him(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a read, whoever comes with it."""

    def scene() -> None:
        client = Client(65_535)
        handler = Overloaded(client, 1.0)
        full = client.house.full_queues
        client.ask(b"a0", [("grpc-timeout", "1S")], name="Soon")
        client.carry()
        asked: list[object] = []
        refuses = full.refuses

        def noted(_self: FullQueues, queue: object, left_s: float | None) -> str:
            asked.append(left_s)
            return refuses(queue, left_s)

        monkeypatch.setattr(FullQueues, "refuses", noted)
        calls = (b"a", "900m"), (b"a", "800m"), (b"b", "1m"), (b"a", "900m"), (b"a", "2S"), (b"a", "1S")
        streams = [client.ask(first + b"1", [("grpc-timeout", timeout)], name="Soon") for first, timeout in calls]
        client.carry()
        assert [client.statuses[stream] for stream in streams] == [SHED, SHED, OK, SHED, SHED, SHED]
        assert handler.asked == [b"a0", b"b1", b"a1"]
        assert len(asked) == 4, "the second and the fourth have no more time than the first"
        client.house.flush()
        refused = {"model": "m", "reason": "overload"}
        assert client.registry.get_sample_value("nearline_online_refused_total", refused) == 4
        assert client.settled()

    played(scene)


@pytest.mark.parametrize("window", [65_535, 1])
def test_an_answer_that_needs_no_work_is_better_than_a_refusal(window: int) -> None:
    def scene() -> None:
        client = Client(window)
        handler = Overloaded(client, 1.0)
        left: list[float | None] = []

        def spare(message: bytes, left_s: float | None) -> Ready | None:
            left.append(left_s)
            return Ready(b"spare") if message[:1] == b"s" else None

        client.house.routes[b"/t.T/Soon"].spare = spare
        spared = [client.ask(b"s", [("grpc-timeout", "1S")], name="Soon") for _ in range(2)]
        others = [client.ask(b"a", [("grpc-timeout", "1S")], name="Soon"), client.ask(b"b", name="Soon")]
        client.carry()
        assert [client.bodies[stream] for stream in spared] == [b"\0\0\0\0\5spare"] * 2
        assert [client.statuses[stream] for stream in (*spared, *others)] == [OK, OK, SHED, OK]
        assert handler.asked == [b"a", b"b"]
        assert left == [0.75, 0.75, 0.75, None]
        assert client.settled()

    played(scene)


def test_where_no_more_calls_may_run_there_is_no_time_at_all() -> None:
    def scene() -> None:
        client = Client(65_535)
        Overloaded(client, 1.0)
        client.house.running = client.house.limits.running_calls
        left: list[float | None] = []

        def spare(_message: bytes, left_s: float | None) -> Ready | None:
            left.append(left_s)
            return None if left_s is None else Ready(b"spare")

        client.house.routes[b"/t.T/Soon"].spare = spare
        stream = client.ask(b"b", name="Soon")
        client.carry()
        assert (left, client.statuses[stream]) == ([None, 0.0], OK)

    played(scene)
