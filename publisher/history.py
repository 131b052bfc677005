"""The audit trail of a model: every record of the ledger about it, who said it, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from protos.judging import Outcome, UnusableError, accept_everybody
from protos.ledger import World, decode_entry
from protos.nearline.v1 import ledger_pb2
from protos.signing import ACTIONS
from protos.topics import Topics
from publisher.words import describe, reason_of
from serving.bus.port import Bus, Record
from serving.trust.keys import short
from serving.trust.trust import Trust


class SignatureState(Enum):
    """What is known of who said it."""

    VALID = "valid"
    UNSIGNED = "unsigned"
    REFUSED = "refused"
    UNCHECKED = "unchecked"  # signed, and no keys are trusted here to check it with


@dataclass(frozen=True, slots=True)
class Told:
    """One record. `appended_ms`: by the bus's clock. `publisher`: as the record says, `signer`: as its key says.

    `message`: why it is refused, lost or unusable.
    """

    offset: int
    appended_ms: int
    publisher: str
    action: str
    what: str
    reason: str
    outcome: Outcome
    message: str
    signature: SignatureState
    signer: str


@dataclass(frozen=True, slots=True)
class History:
    """`ledger` and `end`: identity of the topic, and the offset that comes next."""

    ledger: str
    end: int
    told: tuple[Told, ...]


def read_history(bus: Bus, topics: Topics, trust: Trust | None, model: str) -> History:
    """Read the whole ledger, as somebody judges it who trusts these keys."""
    topic = topics.models.name
    ledger, end = bus.identity(topic), bus.end_offsets(topic)[0]
    world = World(judge=trust.judge(ledger) if trust else accept_everybody)
    told = tuple(found for record in _records(bus, topic, end) if (found := _told(world, trust, ledger, record, model)))
    return History(ledger, end, told)


def _records(bus: Bus, topic: str, end: int) -> Iterator[Record]:
    reader = bus.reader(topic, {0: 0})
    try:
        while reader.position(0) < end:
            for batch in reader.poll(1.0):
                yield from (record for record in batch.records if record.offset < end)
    finally:
        reader.close()


def _told(world: World, trust: Trust | None, ledger: str, record: Record, model: str) -> Told | None:
    verdict = world.apply(record.offset, record.key, record.value)
    try:
        entry, statement = decode_entry(record.key, record.value)
    except UnusableError:
        entry, statement = ledger_pb2.LedgerEntry(), ledger_pb2.Statement()
        if record.key != model.encode():
            return None
    else:
        if statement.model != model:
            return None
    state, signer = _signature(trust, ledger, record.offset, entry, statement)
    kind = statement.WhichOneof("kind")
    return Told(
        record.offset,
        record.timestamp_ms,
        statement.publisher,
        ACTIONS.get(kind, kind) if kind else "unreadable",
        describe(statement),
        reason_of(statement),
        verdict.outcome,
        verdict.message,
        state,
        signer,
    )


def _signature(
    trust: Trust | None, ledger: str, offset: int, entry: ledger_pb2.LedgerEntry, statement: ledger_pb2.Statement
) -> tuple[SignatureState, str]:
    claimed = ", ".join(short(signature.key_id) for signature in entry.signatures)
    if trust is None:
        return (SignatureState.UNCHECKED if claimed else SignatureState.UNSIGNED), claimed
    try:
        signer = trust.signer(ledger, offset, entry, statement)
    except UnusableError:
        return SignatureState.REFUSED, claimed
    return (SignatureState.VALID, signer.name) if signer else (SignatureState.UNSIGNED, "")
