"""Mends how kafka-python 3.0.12 makes decoders, which two threads may spoil for all clients of a process.

It makes the decoder of an answer when the first one comes (protocol/schemas/fields/struct.py, compiled_decode_from). It
puts the answer's class where it otherwise keeps a weak proxy of it, and the proxy back when it is done, without a lock.
When the clients of two threads get their first answers at once, the one that is done first may put the proxy back while
the other begins, whose decoder then has the proxy and raises TypeError at each answer. It is kept as long as the
process lives, and the error ends the task that reads from the connection: all clients' requests of that kind time out.
With the class itself in that place it does not matter who puts back what.
"""

from typing import Any

from kafka.protocol.api_header import ResponseClassRegistry


def keep_answers_classes() -> None:
    """Mend this process, before it has a client; once is enough. Does nothing when the library has changed."""
    answers: dict[int, Any] = getattr(ResponseClassRegistry, "_response_class_registry", {})
    for answer in answers.values():  # weak proxies, too
        kept = answer[None]
        if hasattr(getattr(kept, "_struct", None), "_data_class"):
            kept._struct._data_class = kept  # noqa: SLF001 - there is no public way, see above
