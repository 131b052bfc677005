"""Turns kafka-python's errors into ours, with what a person should look at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import errors as kafka_errors

from serving.errors import BusUnavailableError, InvalidRequestError, NearlineError, NotFoundError

_REACH = "check that a broker listens there and that its advertised.listeners can be reached from here"
_WHAT: tuple[tuple[type[Exception], str], ...] = (
    (kafka_errors.TopicAuthorizationFailedError, "not authorized for the topic; grant this user its ACL"),
    (kafka_errors.GroupAuthorizationFailedError, "not authorized for the consumer group; grant this user its ACL"),
    (kafka_errors.AuthorizationError, "not authorized; grant this user the ACL"),
    (kafka_errors.SaslAuthenticationFailedError, "the login was refused; check user and password"),
    (kafka_errors.IllegalSaslStateError, "the broker wants a login (SASL); give the address of a PLAINTEXT listener"),
    (kafka_errors.UnsupportedVersionError, "the broker is too old; Kafka 3.0 or newer is needed"),
    (kafka_errors.NotEnoughReplicasError, "too few replicas are in sync; check the other brokers"),
    (kafka_errors.KafkaTimeoutError, f"no answer in time; {_REACH}"),
    (kafka_errors.KafkaConnectionError, f"no connection; {_REACH}"),
)
_WRONG_RECORD = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
)


def unavailable(servers: Sequence[str], what: str) -> BusUnavailableError:
    """Name the servers, whatever it is."""
    return BusUnavailableError(f"Kafka at {','.join(servers)}: {what}")


@contextmanager
def converted(servers: Sequence[str], topic: str) -> Iterator[None]:
    """Raise what kafka-python raises as BusUnavailableError, or as a UserError where trying again cannot help."""
    try:
        yield
    except (kafka_errors.KafkaError, RuntimeError, OSError) as error:  # it raises these two when a client was closed
        raise _converted(servers, topic, error) from error


def _converted(servers: Sequence[str], topic: str, error: Exception) -> NearlineError:
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
