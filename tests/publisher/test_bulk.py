"""Loading predictions that were computed elsewhere: the file, the store, the ledger."""

import hashlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import polars as pl
import pytest

from protos.bulk import decode_row
from protos.nearline.v1 import recommender_pb2
from publisher.bulk import load, loads, undo
from publisher.bulk_table import Columns
from publisher.ledger import Ledger
from serving.artifacts.store import FsspecArtifacts
from serving.bus.embedded.bus import EmbeddedBus
from serving.errors import ArtifactUnavailableError, InvalidRequestError, UserError
from tests.builders.buses import TOPICS
from tests.builders.catalogues import announce_catalogue
from tests.builders.ledger import announced, announcement, retirement


@pytest.fixture
def artifacts(tmp_path: Path) -> FsspecArtifacts:
    return FsspecArtifacts(str(tmp_path / "artifacts"))


@pytest.fixture(autouse=True)
def model(bus: EmbeddedBus) -> str:
    bus.append_many(TOPICS.models.name, [announcement("m", 1), announcement("m", 2)])
    return "m"


def parquet(folder: Path, **columns: Any) -> Path:
    said = {"entity": ["ann", "bob"], "items": [["a", "b"], ["c"]], "scores": [[2.0, 1.0], [0.5]], **columns}
    path = folder / "predictions.parquet"
    pl.DataFrame(said).write_parquet(path)
    return path


def stored_rows(uri: str) -> list[Any]:
    return list(msgpack.Unpacker(io.BytesIO(Path(uri.removeprefix("file://")).read_bytes()), raw=True))


def test_a_file_becomes_rows_by_content_and_is_shown(
    ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path
) -> None:
    done = load(ledger, artifacts, "m", parquet(tmp_path), computed_at_ms=7)
    data = Path(done.uri.removeprefix("file://")).read_bytes()
    assert (done.number, done.version, done.digest, done.rows) == (1, 2, announced(2).digest, 2)
    assert (done.size, done.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    first, second = (decode_row(raw, "m", 2) for raw in stored_rows(done.uri))
    expected = recommender_pb2.RecommendResponse(
        item_ids=["a", "b"], scores=[2.0, 1.0], model="m", version=2, computed_at_ms=7
    )
    assert (first.entity, first.computed_at_ms) == (b"ann", 7)
    assert recommender_pb2.RecommendResponse.FromString(first.message) == expected
    assert second.entity == b"bob"
    assert loads(ledger, "m") == ({1: done}, 1)


def test_loads_are_numbered_and_undone_one_by_one(ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    before_ms = time.time_ns() // 1_000_000
    for number in (1, 2):
        done = load(ledger, artifacts, "m", parquet(tmp_path, entity=["ann", f"bob-{number}"]), version=1)
        assert (done.number, done.version, loads(ledger, "m")[1]) == (number, 1, number)
    assert decode_row(stored_rows(done.uri)[0], "m", 1).computed_at_ms >= before_ms
    assert [undo(ledger, "m"), undo(ledger, "m")] == [1, 0]
    with pytest.raises(UserError, match="undo: expected a load of m that is shown, got none"):
        undo(ledger, "m")


def test_columns_may_have_other_names_and_ids_may_be_numbers(
    ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path
) -> None:
    path = tmp_path / "other.parquet"
    frame = pl.DataFrame({"member": [17], "rows": [[4, 5]], "p": [[1, 0]]})
    frame.with_columns(pl.col("rows").cast(pl.List(pl.UInt16))).write_parquet(path)
    done = load(ledger, artifacts, "m", path, columns=Columns("member", "rows", "p"))
    (row,) = (decode_row(raw, "m", 2) for raw in stored_rows(done.uri))
    said = recommender_pb2.RecommendResponse.FromString(row.message)
    assert (row.entity, list(said.item_ids), list(said.scores)) == (b"17", ["4", "5"], [1.0, 0.0])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"entity": ["ann", ""]}, "row 1, entity: expected 1 to 256 bytes of UTF-8, got "),
        ({"entity": ["ann", "x" * 257]}, "row 1, entity: expected 1 to 256 bytes of UTF-8, got "),
        ({"entity": ["ann", None]}, "row 1, entity: expected an entity, got null"),
        ({"entity": ["ann", "ann"]}, "row 1, entity: expected each entity once, got 'ann' twice"),
        ({"entity": [1.5, 2.5]}, "column entity: expected strings or integers, got Float64"),
        ({"items": ["a", "b"]}, "column items: expected lists of strings or integers, got String"),
        ({"items": [["a", "b"], []]}, "row 1, items: expected 1 to 10000 items, got 0"),
        ({"items": [["a", "b"], None]}, "row 1, items: expected 1 to 10000 items, got null"),
        ({"items": [["a", ""], ["c"]]}, "row 0, items: expected 1 to 256 bytes, got ''"),
        ({"items": [["a", None], ["c"]]}, "row 0, items: expected 1 to 256 bytes, got None"),
        ({"items": [["a", "a"], ["c"]]}, "row 0, items: expected each item once, got 'a' twice"),
        ({"scores": [[1.0, 2.0], [1.0, 2.0]]}, "row 1, scores: expected 1 scores, as many as items, got 2"),
        ({"scores": [[1.0, float("nan")], [1.0]]}, "row 0, scores: expected finite 32-bit floats, got nan"),
        ({"scores": [[1.0, 1e39], [1.0]]}, "row 0, scores: expected finite 32-bit floats, got 1e+39"),
        ({"scores": [["x", "y"], ["z"]]}, "column scores: expected lists of numbers, got List(String)"),
        ({"entity": [], "items": [], "scores": []}, "column entity: expected strings or integers, got Null"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_row_column_expected_and_actual_and_says_nothing(
    ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path, columns: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        load(ledger, artifacts, "m", parquet(tmp_path, **columns))
    assert str(error.value).startswith(words)
    assert loads(ledger, "m") == ({}, 0)
    assert not (tmp_path / "artifacts").exists()


def test_a_column_that_is_not_there_names_those_that_are(
    ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        load(ledger, artifacts, "m", parquet(tmp_path), columns=Columns(entity="member"))
    assert str(error.value) == "column member: expected one of the file's (entity, items, scores), got none"


def test_what_is_no_parquet_file_is_said(ledger: Ledger, artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("entity,items")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(InvalidRequestError, match="file: expected a Parquet file, got "):
            load(ledger, artifacts, "m", path)


def test_the_version_is_one_that_may_serve_and_the_time_has_been(
    ledger: Ledger, artifacts: FsspecArtifacts, bus: EmbeddedBus, tmp_path: Path
) -> None:
    bus.append_many(TOPICS.models.name, [retirement("m", 2)])
    path = parquet(tmp_path)
    for version in (2, 9):
        with pytest.raises(InvalidRequestError, match=r"version: expected one of m's that is not retired \(1\), got"):
            load(ledger, artifacts, "m", path, version=version)
    with pytest.raises(InvalidRequestError, match="computed-at: expected a time that has been"):
        load(ledger, artifacts, "m", path, computed_at_ms=time.time_ns() // 1_000_000 + 60_000)
    assert load(ledger, artifacts, "m", path).version == 1


def test_items_that_the_versions_catalogue_has_not_are_refused_unless_allowed(
    ledger: Ledger, artifacts: FsspecArtifacts, bus: EmbeddedBus, tmp_path: Path
) -> None:
    announce_catalogue((bus, TOPICS.models.name), artifacts, tmp_path, 3, ["a", "b"])
    with pytest.raises(InvalidRequestError) as error:
        load(ledger, artifacts, "m", parquet(tmp_path))
    assert str(error.value) == (
        "row 1, items: expected items of the catalogue of m version 3 (else --allow-unknown), got 'c'"
    )
    assert loads(ledger, "m") == ({}, 0)
    assert load(ledger, artifacts, "m", parquet(tmp_path), allow_unknown=True).rows == 2
    assert load(ledger, artifacts, "m", parquet(tmp_path, items=[["b", "a"], ["b"]])).rows == 2


def test_a_catalogue_that_is_away_or_not_as_announced_is_said(
    ledger: Ledger, artifacts: FsspecArtifacts, bus: EmbeddedBus, tmp_path: Path
) -> None:
    stored = announce_catalogue((bus, TOPICS.models.name), artifacts, tmp_path, 3, ["a", "b", "c"])
    stored.write_bytes(stored.read_bytes().replace(b"c", b"d"))
    with pytest.raises(ArtifactUnavailableError, match=r"catalogue\.msgpack: expected SHA-256"):
        load(ledger, artifacts, "m", parquet(tmp_path))
    stored.unlink()
    with pytest.raises(ArtifactUnavailableError, match=r"catalogue\.msgpack"):
        load(ledger, artifacts, "m", parquet(tmp_path))
