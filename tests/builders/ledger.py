"""Statements of the ledger, as records."""

import hashlib
from collections.abc import Mapping, Sequence

from protos.digest import FileEntry, bundle_digest
from protos.judging import Verdict
from protos.ledger import World, encode_statement
from protos.nearline.v1 import ledger_pb2
from protos.records import Announced, ModelRecord

Entry = tuple[bytes, bytes]
"""Key and value of a record."""


def files(content: str = "graph") -> tuple[FileEntry, ...]:
    """A bundle of one file."""
    data = content.encode()
    return (FileEntry("model.onnx", hashlib.sha256(data).hexdigest(), len(data)),)


def announcement(
    model: str = "m",
    version: int = 1,
    *,
    content: str = "",
    held: bool = False,
    entries: Sequence[FileEntry] | None = None,
    digest: str | None = None,
    uri: str = "file:///bundles",
) -> Entry:
    """A version that exists; its bundle differs from that of every other version, unless told otherwise."""
    listed = files(content or f"{model} {version}") if entries is None else entries
    said = ledger_pb2.Announcement(
        version=version,
        digest=bundle_digest(listed) if digest is None else digest,
        uri=uri,
        files=[ledger_pb2.BundleFile(path=f.path, sha256=f.sha256, size=f.size) for f in listed],
        held=held,
    )
    return record(ledger_pb2.Statement(model=model, announcement=said))


def rollout(
    model: str = "m",
    epoch: int = 1,
    *lines: Mapping[int, int],
    scopes: Sequence[Mapping[str, str]] = (),
    digests: Mapping[int, str] | None = None,
) -> Entry:
    """Each line: weights in parts of a million by version; `scopes` in the same order."""
    said = [
        ledger_pb2.RolloutLine(
            scope=dict(scopes[at]) if at < len(scopes) else {},
            shares=[
                ledger_pb2.Share(version=v, weight_ppm=weight, digest=(digests or {}).get(v, ""))
                for v, weight in line.items()
            ],
        )
        for at, line in enumerate(lines)
    ]
    return record(ledger_pb2.Statement(model=model, rollout=ledger_pb2.Rollout(epoch=epoch, lines=said)))


def retirement(model: str = "m", version: int = 1) -> Entry:
    """A version that is never to be served again."""
    return record(ledger_pb2.Statement(model=model, retirement=ledger_pb2.Retirement(version=version)))


def retrial(model: str = "m", version: int = 1, epoch: int = 1) -> Entry:
    """A version that is to be tried once more."""
    return record(ledger_pb2.Statement(model=model, retrial=ledger_pb2.Retrial(version=version, epoch=epoch)))


def blocking(model: str = "m", *lifted: str, epoch: int = 0, **until_ms: int) -> Entry:
    """Items that are hidden until then (0 = for ever), and items that are not any more."""
    items = [ledger_pb2.BlockedItem(item=item, until_ms=ms) for item, ms in until_ms.items()]
    items += [ledger_pb2.BlockedItem(item=item, lifted=True) for item in lifted]
    return record(ledger_pb2.Statement(model=model, blocking=ledger_pb2.Blocking(items=items, epoch=epoch)))


def bulk_load(
    model: str = "m",
    number: int = 1,
    version: int = 1,
    *,
    content: str = "",
    digest: str | None = None,
    sha256: str | None = None,
    uri: str = "file:///loads/rows.msgpack",
    size: int = 10,
    rows: int = 1,
) -> Entry:
    """Predictions that were computed elsewhere; the file differs from that of every other load."""
    said = ledger_pb2.BulkLoad(
        number=number,
        version=version,
        digest=bundle_digest(files(f"{model} {version}")) if digest is None else digest,
        uri=uri,
        sha256=hashlib.sha256((content or f"{number}").encode()).hexdigest() if sha256 is None else sha256,
        size=size,
        rows=rows,
    )
    return record(ledger_pb2.Statement(model=model, bulk_load=said))


def bulk_shown(model: str = "m", epoch: int = 1, number: int = 1) -> Entry:
    """Which load is to be seen."""
    return record(ledger_pb2.Statement(model=model, bulk_shown=ledger_pb2.BulkShown(epoch=epoch, number=number)))


def record(statement: ledger_pb2.Statement) -> Entry:
    """As it stands on the topic."""
    return statement.model.encode(), encode_statement(statement)


def folded(*entries: Entry) -> tuple[World, list[Verdict]]:
    """The world after these records, at offsets 0, 1, …, and what became of each."""
    world = World()
    return world, [world.apply(offset, key, value) for offset, (key, value) in enumerate(entries)]


def model_record(*entries: Entry, model: str = "m") -> ModelRecord:
    """What the ledger says of a model after these records."""
    return folded(*entries)[0].models[model]


def announced(version: int = 1, model: str = "m") -> Announced:
    """A version as folded."""
    return model_record(announcement(model, version), model=model).versions[version]
