"""What a connection is kept for: calls, and nothing else that comes."""

from serving.rpc.native.limits import read_limits
from serving.rpc.native.watch import Struck, Watch
from tests.rpc.native.test_quick import Client, played

IDLE_S = 10


class Socket:
    """Takes all that is written."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Kept:
    """A client, and who watches its connection; time passes by the second."""

    def __init__(self) -> None:
        self.client = Client(65_535)
        self.now = 0.0
        self._watch = Watch(read_limits({"idle_s": IDLE_S}), Socket(), self.now)

    def pass_seconds(self, seconds: int) -> Struck | None:
        """Return what strikes meanwhile, whatever PINGs come."""
        for _ in range(seconds):
            self.now += 1
            self.client.h2.ping(bytes(8))
            self.client.carry()
            struck = self._watch.look(self.client.exchange.connection, self.now, going=False)
            if struck is not None:
                return struck
        return None


def test_without_calls_it_is_kept_for_a_while_whatever_pings_come() -> None:
    def scene() -> None:
        kept = Kept()
        assert kept.pass_seconds(IDLE_S) is None
        assert (kept.pass_seconds(1) or [""])[0] == "idle_s"

    played(scene)


def test_each_call_keeps_it_though_it_is_answered_at_once() -> None:
    def scene() -> None:
        kept = Kept()
        for _ in range(3):
            kept.client.ask(b"now")
            assert kept.pass_seconds(IDLE_S) is None
        assert kept.client.settled()
        assert kept.pass_seconds(2) is not None

    played(scene)


def test_a_call_that_runs_keeps_it_for_as_long_as_it_likes() -> None:
    def scene() -> None:
        kept = Kept()
        kept.client.ask(b"later", name="Soon")
        assert kept.pass_seconds(5 * IDLE_S) is None
        kept.client.stage.waiting[0][1].give(b"now")
        assert kept.pass_seconds(IDLE_S - 1) is None
        assert kept.pass_seconds(2) is not None

    played(scene)
