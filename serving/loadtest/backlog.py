"""Calls that are due and not sent yet, and the connections that they go to."""

from collections import deque
from collections.abc import Sequence

from serving.loadtest.connection import Connection


class Backlog:
    """The earliest call goes first. `connections`: those that calls may be sent on."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self._due: deque[int] = deque()
        self._turn = 0

    def __len__(self) -> int:
        return len(self._due)

    def add(self, due: Sequence[int]) -> None:
        """Take in calls that became due."""
        self._due.extend(due)

    def put_back(self, due: Sequence[int]) -> None:
        """Take in, before all others, calls that a server has not begun."""
        self._due.extendleft(reversed(due))

    def drop(self, before_ns: int) -> int:
        """Forget calls that were due before; return how many."""
        count = len(self._due)
        while self._due and self._due[0] < before_ns:
            self._due.popleft()
        return count - len(self._due)

    def pump(self, freed: Connection | None = None) -> None:
        """Send what is due: on the connection that has room now, or spread over all, the next one's turn first."""
        due = self._due
        while due:
            if freed is not None and freed.room:
                free = [freed]
            else:
                self._turn += 1
                at = self._turn % max(1, len(self.connections))
                free = [one for one in self.connections[at:] + self.connections[:at] if one.room]
            if not free:
                return
            share = -(-len(due) // len(free))
            for connection in free:
                count = min(share, connection.room, len(due))
                if count:
                    connection.send([due.popleft() for _ in range(count)])
