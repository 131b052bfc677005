"""Other processes that use a bus. python -m tests.bus.actors ACTION ARGUMENTS…, and its settings as variables."""

import sys

from protos.topics import Kept, TopicSpec
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.settings import Settings


def ensure(bus: Bus, name: str, partitions: str) -> None:
    """Create a topic, together with the others, when a line comes."""
    _say("ready")
    sys.stdin.readline()
    bus.ensure_topics([TopicSpec(name, int(partitions), Kept.FOR_EVER)])
    _say(bus.identity(name))


def append(bus: Bus, name: str, key: str, count: str) -> None:
    """Append `count` records of one key, one by one, when a line comes."""
    _say("ready")
    sys.stdin.readline()
    for number in range(int(count)):
        bus.append(name, key.encode(), f"{key}:{number}".encode())


def append_for_ever(bus: Bus, name: str) -> None:
    """Append until killed, and say what is durable."""
    number = 0
    while True:
        bus.append(name, b"key", str(number).encode())
        _say(str(number))
        number += 1


def member(bus: Bus, name: str, group: str) -> None:
    """Be a member until killed, and say what was assigned."""

    def assigned(partition: int) -> None:
        _say(f"assigned {partition}")

    joined = bus.member(group, name, assigned, lambda _: None)
    while True:
        joined.poll(0.1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    action, *arguments = sys.argv[1:]
    with_bus = {"ensure": ensure, "append": append, "append_for_ever": append_for_ever, "member": member}[action]
    connected = connect_bus(Settings())
    with_bus(connected, *arguments)  # type: ignore[operator]  # each takes as many as it is given
    connected.close()
