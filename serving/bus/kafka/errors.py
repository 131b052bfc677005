"""Turns kafka-python's errors into ours, with what a person should look at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import errors as kafka_errors

from serving.errors import BusUnavailableError, InvalidRequestError, NearlineError, NotFoundError

_REACH = "check that a broker listens there and that its advertised.listeners can be reached from here"
_WHAT: tuple[tuple[type[Exception], str], ...] = (
    (kafka_errors.UnsupportedVersionError, "the broker is too old; Kafka 3.0 or newer is needed"),
    (kafka_errors.NotEnoughReplicasError, "too few replicas are in sync; check the other brokers"),
    (kafka_errors.KafkaTimeoutError, f"no answer in time; {_REACH}"),
    (kafka_errors.KafkaConnectionError, f"no connection; {_REACH}"),
)
_NO_LOGIN = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.IllegalSaslStateError)
_NO_WRITER = "ClusterAuthorizationFailedError"
"""What becomes, in words of the library's, of who may write no topic at all."""
_ACLS = "`nearline acls` prints what each role needs"
_WRONG_RECORD = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
)


def unavailable(servers: Sequence[str], what: str) -> BusUnavailableError:
    """Name the servers, whatever it is."""
    return BusUnavailableError(f"Kafka at {','.join(servers)}: {what}")


@contextmanager
def converted(servers: Sequence[str], topic: str, *, needs: str, who: str) -> Iterator[None]:
    """Raise what kafka-python raises as BusUnavailableError, or as a UserError where trying again cannot help.

    `needs`: the right that what is done needs on the topic; `who`: this client.
    """
    try:
        yield
    except (kafka_errors.KafkaError, RuntimeError, OSError) as error:  # it raises these two when a client was closed
        raise _converted(servers, topic, error, needs, who) from error


def _converted(servers: Sequence[str], topic: str, error: Exception, needs: str, who: str) -> NearlineError:
    if isinstance(error, (*_NO_LOGIN, kafka_errors.AuthorizationError)) or _NO_WRITER in str(error):
        return unavailable(servers, _refused(topic, error, needs, who))
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return NotFoundError(f"topic {topic!r}: expected one that was created on {','.join(servers)}, got none")
    if isinstance(error, _WRONG_RECORD):
        return InvalidRequestError(f"record for {topic!r}", "one that the topic's settings allow", error)
    if isinstance(error, kafka_errors.InvalidTopicError):
        return InvalidRequestError("topic", "letters, digits, `.`, `_`, `-`", repr(topic))
    for kind, what in _WHAT:
        if isinstance(error, kind):
            return unavailable(servers, f"{topic}: {what} ({type(error).__name__}: {error})")
    return unavailable(servers, f"{topic}: {type(error).__name__}: {error}; {_REACH}")


def _refused(topic: str, error: Exception, needs: str, who: str) -> str:
    if isinstance(error, _NO_LOGIN):
        return f"{topic}: authentication failed: {who} ({error})"
    return f"not authorized: {who}, needs {_right(error, topic, needs)}; {_ACLS}"


def _right(error: Exception, topic: str, needs: str) -> str:
    if isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        return f"Read on the consumer group ({error})"
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        (hidden,) = error.args or ("",)
        names = ", ".join(hidden) if isinstance(hidden, list | set | tuple) else topic
        return f"{needs} on topic {names}"
    if _NO_WRITER in str(error):
        return f"{needs} on topic {topic}"
    return f"{needs} on {topic} ({type(error).__name__}: {error})"
