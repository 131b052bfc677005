"""The rights that each role needs on Kafka: what the code asks of the broker, and nothing else. Pure.

Describe comes with Read and with Write. No role needs a right on the cluster, or one to delete or to change topics.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protos.topics import Topics

ROLES = {
    "publisher": "publishes, rolls out, retires, blocks: whoever may write the ledger decides what nodes run",
    "node": "runs `nearline serve`",
    "event-producer": "appends events",
    "operator": "erases, retries dead letters, prunes workers; looks at everything",
    "reader": "looks at models, instances and workers",
}
"""What each does, for people."""
TOPIC, GROUP = "topic", "group"
READ, WRITE, CREATE, DESCRIBE = "Read", "Write", "Create", "Describe"
_RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "publisher": {
        "models": (READ, WRITE, CREATE),
        "status": (READ, CREATE),
        "events": (DESCRIBE, CREATE),
        "commands": (DESCRIBE, CREATE),
        "dead_letters": (DESCRIBE, CREATE),
    },
    "node": {
        "models": (READ, CREATE),
        "status": (READ, WRITE, CREATE),
        "events": (READ, CREATE),
        "commands": (READ, WRITE, CREATE),
        "dead_letters": (WRITE, CREATE),
    },
    "event-producer": {"events": (WRITE,)},
    "operator": {
        "models": (READ,),
        "status": (READ, WRITE),
        "events": (READ, WRITE),
        "commands": (READ, WRITE),
        "dead_letters": (READ, WRITE),
    },
    "reader": {
        "models": (READ,),
        "status": (READ,),
        "events": (DESCRIBE,),
        "commands": (DESCRIBE,),
        "dead_letters": (DESCRIBE,),
    },
}
"""By role and topic. Create only for those that may be the first to come."""


@dataclass(frozen=True, slots=True)
class Acl:
    """One principal's operations on one resource; `prefixed`: on all whose names begin with `name`."""

    role: str
    principal: str
    resource: str
    name: str
    prefixed: bool
    operations: tuple[str, ...]


def acls(topics: Topics, principals: Mapping[str, Sequence[str]], *, create: bool = True) -> Iterator[Acl]:
    """Yield what the principals of each role need. Without `create`: where somebody else has made the topics."""
    for role, rights in _RIGHTS.items():
        for principal in principals.get(role, ()):
            for topic, operations in rights.items():
                wanted = tuple(operation for operation in operations if create or operation != CREATE)
                yield Acl(role, principal, TOPIC, getattr(topics, topic).name, False, wanted)
            if role == "node":
                yield Acl(role, principal, GROUP, topics.groups, True, (READ,))
