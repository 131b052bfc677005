"""The program, files of models, and workers by hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from protos.nearline.v1 import status_pb2
from protos.topics import instance_key, presence_key
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from tests.builders.graphs import doubler
from tests.cli.program import Program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    for name in [name for name in os.environ if name.startswith("NEARLINE_")]:
        monkeypatch.delenv(name)
    return Program(tmp_path, monkeypatch, capsys)


@pytest.fixture
def graph(tmp_path: Path) -> str:
    """Path of an ONNX file."""
    onnx.save(doubler(), tmp_path / "doubler.onnx")
    return str(tmp_path / "doubler.onnx")


class Fleet:
    """Workers of a node `n`, by hand."""

    def __init__(self, bus: Bus, topic: str) -> None:
        self._bus = bus
        self._topic = topic

    def live(self, worker: str, **labels: str) -> None:
        presence = status_pb2.Presence(
            node="n", worker=worker, role=status_pb2.SERVING, incarnation=worker, labels=labels, nearline_version="0.1"
        )
        self._append(presence_key("n", worker), status_pb2.StatusRecord(presence=presence))

    def say(
        self,
        worker: str,
        version: int,
        digest: str,
        state: "status_pb2.InstanceState.ValueType",
        error: str = "",
        backfill: tuple[int, int] = (0, 0),
        retry_at_ms: int = 0,
    ) -> None:
        status = status_pb2.InstanceStatus(
            model="m", version=version, digest=digest, node="n", worker=worker, incarnation=worker, state=state
        )
        status.backfill_total, status.backfill_left = backfill
        status.retry_at_ms = retry_at_ms
        if error:
            status.error.kind, status.error.message = status_pb2.LOAD, error
        self._append(instance_key("n", worker, "m", version), status_pb2.StatusRecord(instance=status))

    def _append(self, key: bytes, record: status_pb2.StatusRecord) -> None:
        self._bus.append(self._topic, key, record.SerializeToString())


@pytest.fixture
def fleet(program: Program) -> Iterator[Fleet]:
    settings = program.settings
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    yield Fleet(bus, settings.topics.status.name)
    bus.close()
