"""The calls that run on one connection: when each was due, what has come of its answer, and how it ended."""

from collections.abc import Callable

from serving.loadtest.answers import answered
from serving.loadtest.recorder import Recorder
from serving.loadtest.statuses import OK, Status, Statuses, reset

_NO_MESSAGE = Status("INTERNAL", "expected one uncompressed message, got none, several or another one")
_PREFIX_BYTES = 5


class Calls:
    """`running`: when each was due, by stream. `messages`: DATA of answers so far, by stream.

    What ends is taken down in `recorder`; methods that may end a call say how many they ended.
    """

    def __init__(self, read: Callable[[bytes], str] | None, recorder: Recorder) -> None:
        self.recorder = recorder
        self.running: dict[int, int] = {}
        self.messages: dict[int, bytes] = {}
        self._read = read or answered
        self._statuses = Statuses()

    @property
    def ok(self) -> bytes:
        """The header block of the first call that ended well; b"" before."""
        return self._statuses.ok

    def end(self, stream: int, block: bytes, now: int) -> int:
        """Take down what the last header block says; b"" where there was none."""
        due = self.running.pop(stream, None)
        message = self.messages.pop(stream, b"")
        if due is None:
            return 0
        status = self._statuses.of(block)
        if status is not OK:
            self.recorder.failed(status, due)
            return 1
        # The prefix says: not compressed, and as long as what follows.
        length = len(message) - _PREFIX_BYTES
        if length < 0 or message[0] or int.from_bytes(message[1:_PREFIX_BYTES], "big") != length:
            self.recorder.failed(_NO_MESSAGE, due)
            return 1
        ended = self.recorder.ended[self._read(message[_PREFIX_BYTES:])]
        ended.due.append(due)
        ended.took.append(now - due)
        return 1

    def reset(self, stream: int, code: int) -> int:
        """Take down that the server reset a stream."""
        due = self.running.pop(stream, None)
        self.messages.pop(stream, None)
        if due is None:
            return 0
        self.recorder.failed(reset(code), due)
        return 1

    def give_up(self, status: Status) -> int:
        """End all that run with that status."""
        for due in self.running.values():
            self.recorder.failed(status, due)
        count = len(self.running)
        self.running.clear()
        self.messages.clear()
        return count

    def beyond(self, last: int) -> list[int]:
        """Take out the calls of streams beyond `last`, which the server has not begun; return when they were due."""
        return [self.running.pop(stream) for stream in [stream for stream in self.running if stream > last]]
