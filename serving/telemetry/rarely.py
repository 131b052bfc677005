"""For what goes on failing: say so when it begins, when it is another failure, and now and then."""

import time

_AGAIN_S = 60.0


class Rarely:
    """One trouble. One thread."""

    def __init__(self) -> None:
        self._said = ""
        self._at = 0.0

    def is_news(self, message: str) -> bool:
        """Tell whether to log it now."""
        now = time.monotonic()
        if message == self._said and now - self._at < _AGAIN_S:
            return False
        self._said, self._at = message, now
        return True

    def over(self) -> bool:
        """Tell whether there was trouble, which is over now."""
        was, self._said = bool(self._said), ""
        return was
