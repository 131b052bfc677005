"""An answer that is given without waiting, and perhaps again and again."""


class Ready:
    """An encoded answer. `carried` belongs to the transport: what it made of the answer, for the next time."""

    __slots__ = ("carried", "message")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.carried: tuple[bytes, ...] = ()
