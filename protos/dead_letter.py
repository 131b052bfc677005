"""A record that could not be used, as it is kept on `dead-letters`: msgpack, so that any tool can read it."""

from dataclasses import asdict, dataclass

import msgpack


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Where it stood, why it could not be used, and the bytes as they were."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None

    def encode(self) -> bytes:
        """Return the record's value."""
        packed: bytes = msgpack.packb(asdict(self))
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "DeadLetter":
        """Read back what `encode` wrote."""
        return cls(**msgpack.unpackb(data))
