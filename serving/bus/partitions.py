"""How many partitions topics must have. Pure; one rule for every adapter."""

from collections.abc import Iterable, Mapping

from protos.topics import TopicSpec
from serving.errors import InvalidRequestError


def wanted_partitions(spec: TopicSpec, existing: Mapping[str, int]) -> int:
    """Return how many partitions to create a topic with, given those that exist."""
    return existing.get(spec.like, spec.partitions)


def check_partitions(specs: Iterable[TopicSpec], existing: Mapping[str, int]) -> None:
    """Compare each topic with the one it is like: where both exist, a key must be on the same partition of both."""
    for spec in specs:
        expected, actual = existing.get(spec.like), existing.get(spec.name)
        if expected is not None and actual is not None and expected != actual:
            raise InvalidRequestError(
                f"partitions of topic {spec.name!r}",
                f"{expected}, as {spec.like!r} has (add partitions to the one that has fewer)",
                actual,
            )


def check_assignment(partitions: Iterable[int], count: int) -> None:
    """Refuse a partition that a topic of `count` partitions has not."""
    for partition in partitions:
        if not 0 <= partition < count:
            raise InvalidRequestError("partition", f"0 to {count - 1}", partition)


def not_assigned(topic: str, partition: int) -> InvalidRequestError:
    """Say that a partition is not read just now."""
    return InvalidRequestError("partition", f"one of {topic!r} that is assigned", partition)
