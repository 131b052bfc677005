"""Fixtures of the bus tests."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.bus.port import Bus
from serving.settings import Settings
from tests.bus.harness import EmbeddedHarness, Harness, KafkaHarness, topic
from tests.servers.kafka.secured import SecuredBroker


def variables(harness: Harness) -> dict[str, str]:
    """A harness' settings, as another process gets them."""
    values = json.loads(harness.settings.revealed(exclude_unset=True))
    return {**os.environ, **{f"NEARLINE_{name.upper()}": str(value) for name, value in values.items()}}


Actor = subprocess.Popen[str]
_REPOSITORY = Path(__file__).parents[2]


_SECURED = pytest.param("kafka over SASL_SSL", marks=[pytest.mark.kafka])
_IMPLEMENTATIONS = [
    "embedded",
    pytest.param("kafka", marks=pytest.mark.kafka),
    # A login and TLS change little of a bus, and tests/security/ does the main job with both: this is for whoever asks.
    *([_SECURED] if "NEARLINE_TEST_SECURED_BUS" in os.environ else []),
]


@pytest.fixture(params=_IMPLEMENTATIONS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """Each implementation."""
    made: EmbeddedHarness | KafkaHarness
    if request.param == "embedded":
        made = EmbeddedHarness(tmp_path)
    elif "SASL_SSL" in request.param:
        broker: SecuredBroker = request.getfixturevalue("secured_kafka")
        made = KafkaHarness(broker.address, Settings(data_dir=tmp_path, **broker.settings("root")))
    else:
        servers = request.getfixturevalue("kafka_servers")
        made = KafkaHarness(servers, Settings(data_dir=tmp_path, bus=f"kafka://{servers}"))
    yield made
    made.close()


@pytest.fixture
def bus(harness: Harness) -> Bus:
    """One connection."""
    return harness.connect()


@pytest.fixture
def name(bus: Bus) -> str:
    """A topic of one partition, kept for ever."""
    spec = topic()
    bus.ensure_topics([spec])
    return spec.name


@pytest.fixture
def wide(bus: Bus) -> str:
    """A topic of four partitions."""
    spec = topic(partitions=4)
    bus.ensure_topics([spec])
    return spec.name


@pytest.fixture
def start_actor() -> Iterator[Callable[..., Actor]]:
    """Start `tests.bus.actors` as a process; killed at the end of the test."""
    started: list[Actor] = []

    def start(harness: Harness, action: str, *arguments: str) -> Actor:
        command = [sys.executable, "-m", "tests.bus.actors", action, *arguments]
        actor = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=_REPOSITORY,
            env=variables(harness),
        )
        started.append(actor)
        return actor

    yield start
    for actor in started:
        if actor.poll() is None:
            actor.kill()
        actor.communicate()


def line(actor: Actor) -> str:
    """Return the next line that a process says."""
    assert actor.stdout is not None
    return actor.stdout.readline()
