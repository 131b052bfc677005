"""Loads predictions that were computed elsewhere: checked, stored by content, said on the ledger, shown."""

import hashlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from protos.bulk import ROWS_FILE, previous
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2
from protos.records import BulkLoad, ModelRecord
from protos.traffic import shares_for
from publisher.bulk_table import Columns, Made, read_predictions
from publisher.known_items import catalogue_of
from publisher.ledger import Ledger, known_model
from serving.artifacts.port import ArtifactStore
from serving.errors import InvalidRequestError, UserError


def load(
    ledger: Ledger,
    artifacts: ArtifactStore,
    model: str,
    path: Path,
    *,
    version: int | None = None,
    columns: Columns | None = None,
    computed_at_ms: int | None = None,
    allow_unknown: bool = False,
) -> BulkLoad:
    """Load a Parquet file, and have it seen as soon as every shard of a store has all of it.

    `version`: which one computed it; default: the one that serves most entities. `computed_at_ms`: default: now.
    `allow_unknown`: items may be missing in the version's catalogue. What is wrong with the file names row, column,
    expected and actual; then nothing was said.
    """
    now_ms = time.time_ns() // 1_000_000
    at_ms = now_ms if computed_at_ms is None else computed_at_ms
    if not 0 < at_ms <= now_ms:
        raise InvalidRequestError("computed-at", "a time that has been", f"{(at_ms - now_ms) / 1000:.0f} s from now")
    announced = known_model(ledger.read(), model)
    number = _version(announced, model, version)
    catalogue = None if allow_unknown else catalogue_of(artifacts, announced.versions[number])
    known = None if catalogue is None else catalogue.rows
    digest = hashlib.sha256()
    rows = size = 0
    with tempfile.TemporaryDirectory(prefix="nearline-load-") as folder:
        target = Path(folder) / ROWS_FILE
        with target.open("wb") as file:
            for row in read_predictions(path, columns or Columns(), Made(model, number, at_ms, known)):
                digest.update(row)
                file.write(row)
                rows, size = rows + 1, size + len(row)
        sha256 = digest.hexdigest()
        uri = artifacts.put(sha256, {ROWS_FILE: target})

    def make(world: World) -> ledger_pb2.Statement:
        record = known_model(world, model)
        said = ledger_pb2.BulkLoad(
            number=max(record.loads, default=0) + 1,
            version=number,
            digest=record.versions[number].digest,
            uri=f"{uri}/{ROWS_FILE}",
            sha256=sha256,
            size=size,
            rows=rows,
        )
        return ledger_pb2.Statement(model=model, bulk_load=said)

    loads = ledger.say(make).world.models[model].loads
    newest = loads[max(loads)]
    show(ledger, model, newest.number)
    return newest


def show(ledger: Ledger, model: str, number: int) -> None:
    """Have a load seen, as soon as all of it is there; 0 = none."""

    def make(world: World) -> ledger_pb2.Statement:
        shown = ledger_pb2.BulkShown(epoch=known_model(world, model).shown_epoch + 1, number=number)
        return ledger_pb2.Statement(model=model, bulk_shown=shown)

    ledger.say(make)


def undo(ledger: Ledger, model: str) -> int:
    """Have the load before the one that is seen be seen again; return its number, 0 when there is none."""
    before = 0

    def make(world: World) -> ledger_pb2.Statement:
        nonlocal before
        record = known_model(world, model)
        if not record.shown:
            raise UserError(f"undo: expected a load of {model} that is shown, got none")
        before = previous(record.loads, record.shown)
        shown = ledger_pb2.BulkShown(epoch=record.shown_epoch + 1, number=before)
        return ledger_pb2.Statement(model=model, bulk_shown=shown)

    ledger.say(make)
    return before


def loads(ledger: Ledger, model: str) -> tuple[Mapping[int, BulkLoad], int]:
    """Return all loads by number, and the number of the one to be seen; 0 = none."""
    record = known_model(ledger.read(), model)
    return record.loads, record.shown


def _version(record: ModelRecord, model: str, version: int | None) -> int:
    if version is None:
        shares = shares_for(record, {})
        if not shares:
            raise UserError(f"version: expected one of {model} that serves, got none; name one with --version")
        return max(shares, key=lambda share: share.weight_ppm).version
    if version not in record.versions or version in record.retired:
        known = ", ".join(str(v) for v in sorted(record.versions) if v not in record.retired)
        raise InvalidRequestError("version", f"one of {model}'s that is not retired ({known})", version)
    return version
