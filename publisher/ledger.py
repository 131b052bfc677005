"""Says something on the ledger, and reads back to its own offset to learn whether it was first."""

import getpass
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protos.judging import Judge, Outcome, UnusableError, Verdict, accept_everybody
from protos.ledger import SCHEMA, World
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.records import ModelRecord
from protos.topics import Topics
from serving.bus.port import Appended, Bus
from serving.errors import BusUnavailableError, ConflictError, UserError

_TRIES = 20
_READ_BACK_S = 10.0


def publisher_name() -> str:
    """Who is speaking, for the record: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a statement: the verdict, where it went, and the world after it."""

    verdict: Verdict
    appended: Appended
    world: World


class Voice(Protocol):
    """Who speaks, and who is believed; publisher/signing.py has the one of the settings."""

    def judge(self, ledger: str) -> Judge:
        """Whose statements count on the topic of that identity."""
        ...

    def sign(self, ledger: str, schema: int, statement: bytes) -> list[ledger_pb2.Signature]:
        """Sign a statement for that topic; UserError when it would not be heard."""
        ...


class Anybody:
    """Signs nothing, and believes everybody."""

    def judge(self, ledger: str) -> Judge:
        """Everybody's statements count."""
        del ledger
        return accept_everybody

    def sign(self, ledger: str, schema: int, statement: bytes) -> list[ledger_pb2.Signature]:
        """Sign nothing."""
        del ledger, schema, statement
        return []


class Ledger:
    """The ledger as one publisher sees it."""

    def __init__(self, bus: Bus, topics: Topics, voice: Voice | None = None) -> None:
        self._bus = bus
        self._topic = topics.models.name
        self._voice = voice or Anybody()
        bus.ensure_topics(topics.all())
        self._identity = bus.identity(self._topic)

    def read(self) -> World:
        """Fold everything up to the end as it is now."""
        world = World(judge=self._voice.judge(self._identity))
        self._fold(world, self._bus.end_offsets(self._topic)[0])
        return world

    def say(self, make: Callable[[World], ledger_pb2.Statement]) -> Said:
        """Append what `make` returns for the world as it is, until it wins; `make` may raise instead.

        UserError when it is not valid; ConflictError when others were first again and again.
        """
        lost = ""
        for _ in range(_TRIES):
            world, statement, value = self._written(make)
            appended = self._bus.append(self._topic, statement.model.encode(), value)
            verdict = self._fold(world, appended.offset + 1)
            if verdict is None:
                raise BusUnavailableError(
                    f"topic {self._topic}: expected to read back offset {appended.offset}, got nothing"
                )
            if verdict.outcome in {Outcome.ACCEPTED, Outcome.REPEATED}:
                return Said(verdict, appended, world)
            if verdict.outcome is Outcome.UNUSABLE and verdict.kind != status_pb2.CONFLICT:
                raise UserError(verdict.message)
            lost = verdict.message
        raise ConflictError(f"others were first {_TRIES} times in a row: {lost}")

    def rehearse(self, make: Callable[[World], ledger_pb2.Statement]) -> ledger_pb2.Statement:
        """Return what `say` would append now, signed and judged as there, and append nothing. The errors of `say`."""
        world, statement, value = self._written(make)
        verdict = world.apply(world.position, statement.model.encode(), value)
        if verdict.outcome is Outcome.UNUSABLE:
            raise UserError(verdict.message)
        return statement

    def _written(self, make: Callable[[World], ledger_pb2.Statement]) -> tuple[World, ledger_pb2.Statement, bytes]:
        """Return the world as it is, what `make` says to it, and that as a record."""
        world = self.read()
        statement = make(world)
        statement.publisher = publisher_name()
        statement.created_at_ms = time.time_ns() // 1_000_000
        return world, statement, self._entry(world, statement)

    def _entry(self, world: World, statement: ledger_pb2.Statement) -> bytes:
        """Sign; UserError when it would not count, so that an honest mistake alarms nobody."""
        written = statement.SerializeToString()
        signatures = self._voice.sign(self._identity, SCHEMA, written)
        entry = ledger_pb2.LedgerEntry(schema=SCHEMA, statement=written, signatures=signatures)
        try:
            world.judge(world.position, entry, statement)
        except UnusableError as error:
            raise UserError(f"nothing was said, since nobody would accept it: {error}") from error
        return entry.SerializeToString()

    def _fold(self, world: World, end: int) -> Verdict | None:
        """Fold up to `end`; return the verdict of the last record before it."""
        verdict = None
        reader = self._bus.reader(self._topic, {0: world.position})
        deadline = time.monotonic() + _READ_BACK_S
        try:
            while reader.position(0) < end:
                for batch in reader.poll(0.5):
                    for record in batch.records:
                        if record.offset < end:
                            verdict = world.apply(record.offset, record.key, record.value)
                            deadline = time.monotonic() + _READ_BACK_S
                if time.monotonic() > deadline:
                    raise BusUnavailableError(f"topic {self._topic}: no answer while reading up to offset {end}")
        finally:
            reader.close()
        return verdict


def known_model(world: World, model: str) -> ModelRecord:
    """Return what the ledger says of a model; UserError with the ones there are."""
    record = world.models.get(model)
    if record is None:
        known = ", ".join(sorted(world.models)) or "none"
        raise UserError(f"model: expected an announced one ({known}), got {model!r}")
    return record
