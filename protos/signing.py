"""What a signature of a ledger record covers, and what the kinds of statements are called. Pure.

The prefix keeps these signatures apart from any other use of the same key. The audience is the identity of the topic
that the statement was said on, which the bus gives anew to each topic: a record that is copied to another
installation's topic, or to one that was created again, does not count there. Everything else that must not be
replaced stands in the statement itself: model, version and digest, or epoch.
"""

from protos.nearline.v1 import ledger_pb2

SIGNATURE_BYTES = 64
MAX_SIGNATURES = 8
"""Of one record: each costs everybody a verification."""

_PREFIX = b"nearline ledger statement, schema "

ACTIONS = {
    "announcement": "publish",
    "rollout": "rollout",
    "retirement": "retire",
    "retrial": "retry",
    "blocking": "block",
    "bulk_load": "load",
    "bulk_shown": "load",
}
"""What each kind of statement does, in the words of the commands that say it."""


def signed_bytes(schema: int, audience: str, statement: bytes) -> bytes:
    """Return what is signed: no two triples give the same bytes."""
    named = audience.encode()
    return _PREFIX + schema.to_bytes(4) + len(named).to_bytes(4) + named + statement


def action(statement: ledger_pb2.Statement) -> str:
    """Name what a statement does; empty for a kind that this release does not know."""
    return ACTIONS.get(statement.WhichOneof("kind") or "", "")
