"""Publishers with keys, what they sign, and installations that trust them."""

from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protos.ledger import SCHEMA, World
from protos.nearline.v1 import ledger_pb2
from protos.signing import signed_bytes
from serving.trust.files import read_trust
from serving.trust.keys import SigningKeys
from serving.trust.trust import Trust
from tests.builders.ledger import Entry

TOPIC = "topic-1"
"""Identity of the topic that things are said on."""


def new_keys() -> SigningKeys:
    return SigningKeys(Ed25519PrivateKey.generate(), generate_ec(SECP256R1()))


ANN, BOB, EVE = new_keys(), new_keys(), new_keys()
"""Ann and Bob are trusted in most tests, Eve never is."""


def signed(entry: Entry, keys: SigningKeys, *, audience: str = TOPIC, claims: SigningKeys | None = None) -> Entry:
    """The same statement with a signature more. `claims`: whose it says to be; default: who signs it."""
    key, value = entry
    record = ledger_pb2.LedgerEntry.FromString(value)
    record.signatures.add(
        key_id=(claims or keys).public.id,
        audience=audience,
        signature=keys.sign(signed_bytes(SCHEMA, audience, record.statement)),
    )
    return key, record.SerializeToString()


def rule(name: str, keys: SigningKeys, *models: str, **more: object) -> dict[str, object]:
    """A key of a trust file."""
    return {"name": name, "public_key": keys.public.pem.decode(), "models": list(models or ("*",)), **more}


def trust_file(folder: Path, *rules: dict[str, object], **more: object) -> Path:
    """Write a trust file."""
    path = folder / "trust.yaml"
    path.write_text(yaml.safe_dump({"keys": list(rules), **more}))
    return path


def trusting(folder: Path, *rules: dict[str, object], **more: object) -> Trust:
    """Who trusts these keys."""
    found = read_trust(trust_file(folder, *rules, **more))
    assert found is not None
    return found


def judged(trust: Trust, *entries: Entry, ledger: str = TOPIC) -> tuple[World, list[tuple[str, str]]]:
    """The world after these records, and what became of each: outcome, and message."""
    world = World(judge=trust.judge(ledger))
    verdicts = [world.apply(offset, key, value) for offset, (key, value) in enumerate(entries)]
    return world, [(verdict.outcome.value, verdict.message) for verdict in verdicts]
