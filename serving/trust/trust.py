"""Whose statements count: the judge of the ledger's records, as an installation has configured it. Pure.

A record counts when one of its signatures is by a trusted key, fits the statement and the topic that it is read from,
and the key may do that for that model. What does not count is refused before the fold sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from protos.judging import Judge, UnusableError
from protos.nearline.v1 import ledger_pb2, status_pb2
from protos.signing import MAX_SIGNATURES, action, signed_bytes
from serving.trust.keys import PublicKeys, short


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A publisher: for which models (patterns), to do what (empty = everything).

    `until`: topic and offset below which alone its statements count, since it is not used any more; None = all do.
    """

    name: str
    keys: PublicKeys
    models: tuple[str, ...]
    may: frozenset[str] = frozenset()
    until: tuple[str, int] | None = None

    def objection(self, model: str, doing: str) -> str:
        """Say why it may not do that; empty when it may."""
        if not any(fnmatchcase(model, pattern) for pattern in self.models):
            return f"{self.name} may not speak for {model}: expected a model of {', '.join(self.models)}"
        if self.may and doing not in self.may:
            return f"{self.name} may not {doing or 'say such a thing'}: expected one of {', '.join(sorted(self.may))}"
        return ""

    def too_late(self, ledger: str, offset: int) -> str:
        """Say why a statement there does not count any more; empty when it does."""
        if self.until is None or (ledger == self.until[0] and offset < self.until[1]):
            return ""
        topic, end = self.until
        return f"{self.name} counts below offset {end} of topic {topic} only, got {offset} of {ledger}"


@dataclass(frozen=True, slots=True)
class Trust:
    """All that an installation trusts.

    `keys`: by fingerprint. `ledgers`: identities of topics beside the one that is read whose records count (it was
    copied from them), and below which offset of theirs unsigned records count, too. `digest`: over all of it.
    """

    keys: Mapping[str, TrustedKey]
    ledgers: Mapping[str, int]
    digest: str

    def judge(self, ledger: str) -> Judge:
        """Judge records that are read from the topic of that identity."""

        def judge(offset: int, entry: ledger_pb2.LedgerEntry, statement: ledger_pb2.Statement) -> None:
            self.signer(ledger, offset, entry, statement)

        return judge

    def signer(
        self, ledger: str, offset: int, entry: ledger_pb2.LedgerEntry, statement: ledger_pb2.Statement
    ) -> TrustedKey | None:
        """Return whose statement it is; None for an unsigned one that counts. UnusableError(SIGNATURE)."""
        if not entry.signatures:
            if offset < self.ledgers.get(ledger, 0):
                return None
            raise _refused("expected one by a trusted key, got none")
        if len(entry.signatures) > MAX_SIGNATURES:
            raise _refused(f"expected at most {MAX_SIGNATURES}, got {len(entry.signatures)}")
        objections = []
        for signature in entry.signatures:
            known = self.keys.get(signature.key_id)
            objection = self._objection(known, signature, ledger, offset, entry, statement)
            if known and not objection:
                return known
            objections.append(objection)
        raise _refused("; ".join(objections))

    def _objection(
        self,
        known: TrustedKey | None,
        signature: ledger_pb2.Signature,
        ledger: str,
        offset: int,
        entry: ledger_pb2.LedgerEntry,
        statement: ledger_pb2.Statement,
    ) -> str:
        if known is None:
            return f"expected one by a trusted key, got one by {short(signature.key_id)}, which is unknown"
        if signature.audience != ledger and signature.audience not in self.ledgers:
            return f"expected one for topic {ledger}, got one by {known.name} for {signature.audience[:80]!r}"
        if not known.keys.verify(signature.signature, signed_bytes(entry.schema, signature.audience, entry.statement)):
            return f"expected one by {known.name} over this statement, got one that does not fit it"
        return known.objection(statement.model, action(statement)) or known.too_late(ledger, offset)


def _refused(reason: str) -> UnusableError:
    return UnusableError(status_pb2.SIGNATURE, f"signature: {reason}")
