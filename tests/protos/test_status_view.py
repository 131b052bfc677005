"""Who is there, and what state each model instance is in."""

from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS, StatusView
from protos.topics import fault_key, instance_key, presence_key


def present(view: StatusView, worker: str, incarnation: str, at_ms: int) -> None:
    presence = status_pb2.Presence(node="n", worker=worker, incarnation=incarnation)
    view.apply(presence_key("n", worker), at_ms, status_pb2.StatusRecord(presence=presence).SerializeToString())


def instance(
    view: StatusView, worker: str, incarnation: str, version: int, state: "status_pb2.InstanceState.ValueType"
) -> None:
    status = status_pb2.InstanceStatus(
        model="m", version=version, digest=f"d{version}", node="n", worker=worker, incarnation=incarnation, state=state
    )
    value = status_pb2.StatusRecord(instance=status).SerializeToString()
    view.apply(instance_key("n", worker, "m", version), 0, value)


def test_a_worker_is_live_for_a_while_after_it_was_seen_by_append_time() -> None:
    view = StatusView()
    present(view, "w0", "i", 1_000)
    assert [p.worker for p in view.live(1_000 + LIVE_MS)] == ["w0"]
    assert view.live(1_001 + LIVE_MS) == []
    assert [p.worker for p in view.presences()] == ["w0"]


def test_a_heartbeat_keeps_it_live() -> None:
    view = StatusView()
    for at in (1_000, 6_000, 11_000):
        present(view, "w0", "i", at)
    assert (view.seen_ms(view.presences()[0]), view.newest_ms) == (11_000, 11_000)
    assert len(view.live(11_000 + LIVE_MS)) == 1


def test_a_worker_that_was_never_seen_was_seen_at_no_time() -> None:
    assert StatusView().seen_ms(status_pb2.Presence(incarnation="x")) == 0


def test_what_an_earlier_start_of_a_worker_said_is_not_current() -> None:
    view = StatusView()
    present(view, "w0", "first", 0)
    instance(view, "w0", "first", 1, status_pb2.READY)
    present(view, "w0", "second", 1)
    assert (view.current(), len(view.statuses())) == ([], 1)
    instance(view, "w0", "second", 1, status_pb2.LOADING)
    assert [s.state for s in view.current()] == [status_pb2.LOADING]


def test_tombstones_take_back_what_was_said() -> None:
    view = StatusView()
    present(view, "w0", "i", 0)
    instance(view, "w0", "i", 1, status_pb2.READY)
    fault = status_pb2.StatusRecord(fault=status_pb2.LedgerFault(offset=4)).SerializeToString()
    view.apply(fault_key("n", "w0", 4), 0, fault)
    assert (len(view.current()), len(view.faults())) == (1, 1)
    view.apply(fault_key("n", "w0", 4), 0, None)
    view.apply(presence_key("n", "w0"), 0, None)
    assert (view.presences(), view.current(), view.faults(), len(view.statuses())) == ([], [], [], 1)
    view.apply(instance_key("n", "w0", "m", 1), 0, None)
    assert view.statuses() == []


def test_versions_that_were_ready_once_are_known() -> None:
    view = StatusView()
    for version, state in enumerate((status_pb2.READY, status_pb2.DRAINING, status_pb2.UNLOADED, status_pb2.FAILED), 1):
        instance(view, "w0", "i", version, state)
    assert view.ready_digests("m") == {"d1", "d2", "d3"}
    assert view.ready_digests("other") == set()


def test_a_version_that_was_ready_stays_proven_whatever_became_of_it() -> None:
    view = StatusView()
    for version, state in enumerate(status_pb2.InstanceState.values(), 1):
        status = status_pb2.InstanceStatus(model="m", version=version, digest=f"d{version}", state=state, ready_at_ms=5)
        value = status_pb2.StatusRecord(instance=status).SerializeToString()
        view.apply(instance_key("n", "w0", "m", version), 0, value)
    assert len(view.ready_digests("m")) == len(status_pb2.InstanceState.values())


def test_the_answer_is_sorted() -> None:
    view = StatusView()
    for worker in ("w1", "w0"):
        present(view, worker, worker, 0)
        for version in (2, 1):
            instance(view, worker, worker, version, status_pb2.READY)
    response = view.response()
    assert [(i.version, i.worker) for i in response.instances] == [(1, "w0"), (1, "w1"), (2, "w0"), (2, "w1")]
    assert [w.worker for w in response.workers] == ["w0", "w1"]


@given(st.none() | st.binary(max_size=8), st.binary(max_size=64))
def test_no_record_raises(key: bytes | None, value: bytes) -> None:
    view = StatusView()
    view.apply(key, 1, value)
    assert view.undecodable + len(view.presences()) + len(view.statuses()) + len(view.faults()) == 1
    view.response()
