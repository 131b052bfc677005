"""The thread of a deployer: one thing after the other, whatever happens in one of them."""

import threading
import time
from functools import partial

from structlog.testing import capture_logs

from serving.models.mailbox import Mailbox
from tests.builders.waiting import DEADLINE_S


def never() -> None:
    raise AssertionError("nothing was due")


def fail() -> None:
    raise RuntimeError("a defect")


def test_messages_are_done_in_order_and_those_before_a_stop_are_done() -> None:
    mailbox, done = Mailbox("m"), list[int]()
    mailbox.put(lambda: done.append(0))
    mailbox.start(lambda: None, never)
    for number in range(1, 100):
        mailbox.put(partial(done.append, number))
    mailbox.stop()
    mailbox.put(lambda: done.append(-1))
    assert done == list(range(100))


def test_a_defect_in_one_message_does_not_keep_others_from_being_done() -> None:
    mailbox, done = Mailbox("m"), threading.Event()
    mailbox.put(fail)
    mailbox.put(done.set)
    with capture_logs() as said:
        mailbox.start(lambda: None, never)
        assert done.wait(DEADLINE_S)
    mailbox.stop()
    assert [line["event"] for line in said] == ["deployer.defect"]


def test_what_becomes_due_is_done_without_a_message() -> None:
    mailbox, done = Mailbox("m"), threading.Event()
    due: list[float | None] = [None]

    def do_due() -> None:
        due[0] = None
        done.set()

    mailbox.start(lambda: due[0], do_due)
    mailbox.put(lambda: due.__setitem__(0, time.monotonic()))
    assert done.wait(DEADLINE_S)
    mailbox.stop()


def test_a_defect_that_leaves_something_due_takes_neither_the_processor_nor_the_messages() -> None:
    mailbox, done = Mailbox("m"), threading.Event()
    with capture_logs() as said:
        mailbox.start(lambda: 0.0, fail)
        began = time.monotonic()
        mailbox.put(done.set)
        assert done.wait(DEADLINE_S)
        mailbox.stop()
        passed_s = time.monotonic() - began
    assert len(said) <= passed_s / 0.05 + 2


def test_a_mailbox_that_was_never_started_can_be_stopped() -> None:
    Mailbox("m").stop()
