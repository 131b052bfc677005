"""Predictions in a Parquet file, as rows of a load's file. Needs polars (extra `data`)."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from protos.bulk import MAX_MESSAGE_BYTES, encode_row
from protos.names import InvalidNameError, entity_key
from protos.nearline.v1 import recommender_pb2
from serving.bundles.catalogue import MAX_ITEM_BYTES
from serving.errors import InvalidRequestError, UserError

if TYPE_CHECKING:
    import polars as pl

_PAGE = 100_000
"""Rows decoded at a time: a page that is much smaller than a row group would decode that again and again."""
MAX_ITEMS = 10_000
_LARGEST = 3.4028234663852886e38
"""Scores travel as 32-bit floats."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns: an id, a list of item ids, a list of scores of the same length."""

    entity: str = "entity"
    items: str = "items"
    scores: str = "scores"


@dataclass(frozen=True, slots=True)
class Made:
    """Which version computed predictions, when, and the items that it knows; None: any will do."""

    model: str
    version: int
    at_ms: int
    known: Container[str] | None = None


class _Found(NamedTuple):
    entity: Any
    items: Any
    scores: Any


def read_predictions(path: Path, columns: Columns, made: Made) -> Iterator[bytes]:
    """Yield encoded rows; InvalidRequestError names row, column, expected and actual.

    Ids may be strings or integers, which become strings.
    """
    try:
        import polars as pl  # noqa: PLC0415 - an extra, and only this command needs it
    except ImportError:
        raise UserError("load: expected the polars library, got none; pip install 'nearline[data]'") from None
    try:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
        _check_schema(pl, schema, columns)
        _check_entities(frame.select(pl.col(columns.entity).cast(pl.String)).collect().to_series(), columns)
        total = frame.select(pl.len()).collect().item()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidRequestError("file", "a Parquet file", f"{path}: {' '.join(str(error).split())[:200]}") from None
    if not total:
        raise InvalidRequestError("file", "at least one row", f"none in {path}")
    chosen = frame.select(
        pl.col(columns.entity).cast(pl.String),
        pl.col(columns.items).cast(pl.List(pl.String)),
        pl.col(columns.scores).cast(pl.List(pl.Float64)),
    )
    for start in range(0, total, _PAGE):
        page = chosen.slice(start, _PAGE).collect()
        for at, values in enumerate(page.iter_rows(), start):
            yield _encoded(at, _Found(*values), columns, made)


def _encoded(at: int, found: _Found, columns: Columns, made: Made) -> bytes:
    try:
        entity = entity_key(found.entity)
    except InvalidNameError as error:
        raise InvalidRequestError(f"row {at}, {columns.entity}", "1 to 256 bytes of UTF-8", str(error)) from None
    items, scores = found.items, found.scores
    if not items or len(items) > MAX_ITEMS:
        actual = "null" if items is None else len(items)
        raise InvalidRequestError(f"row {at}, {columns.items}", f"1 to {MAX_ITEMS} items", actual)
    if scores is None or len(scores) != len(items):
        actual = "null" if scores is None else len(scores)
        raise InvalidRequestError(f"row {at}, {columns.scores}", f"{len(items)} scores, as many as items", actual)
    _check_items(f"row {at}, {columns.items}", items, made)
    for score in scores:
        if score is None or not -_LARGEST <= score <= _LARGEST:
            raise InvalidRequestError(f"row {at}, {columns.scores}", "finite 32-bit floats", score)
    message = recommender_pb2.RecommendResponse(
        item_ids=items, scores=scores, model=made.model, version=made.version, computed_at_ms=made.at_ms
    ).SerializeToString()
    if len(message) > MAX_MESSAGE_BYTES:
        raise InvalidRequestError(f"row {at}", f"at most {MAX_MESSAGE_BYTES} bytes of items and scores", len(message))
    return encode_row(entity, message)


def _check_items(field: str, items: list[Any], made: Made) -> None:
    for item in items:
        if item is None or not 0 < len(item.encode()) <= MAX_ITEM_BYTES:
            raise InvalidRequestError(field, f"1 to {MAX_ITEM_BYTES} bytes", repr(item)[:80])
        if made.known is not None and item not in made.known:
            expected = f"items of the catalogue of {made.model} version {made.version} (else --allow-unknown)"
            raise InvalidRequestError(field, expected, repr(item))
    if len(set(items)) != len(items):
        twice = next(item for place, item in enumerate(items) if item in items[:place])
        raise InvalidRequestError(field, "each item once", f"{twice!r} twice")


def _check_schema(pl: Any, schema: "pl.Schema", columns: Columns) -> None:
    def words(kind: Any) -> bool:
        return kind == pl.String or kind.is_integer() or isinstance(kind, pl.Categorical | pl.Enum)

    def inner(kind: Any) -> Any:
        return kind.inner if isinstance(kind, pl.List | pl.Array) else pl.Null()

    checks = (
        (columns.entity, "strings or integers", words),
        (columns.items, "lists of strings or integers", lambda kind: words(inner(kind))),
        (columns.scores, "lists of numbers", lambda kind: inner(kind).is_numeric()),
    )
    for name, expected, check in checks:
        if name not in schema:
            raise InvalidRequestError(f"column {name}", f"one of the file's ({', '.join(schema)})", "none")
        if not check(schema[name]):
            raise InvalidRequestError(f"column {name}", expected, str(schema[name]))


def _check_entities(entities: "pl.Series", columns: Columns) -> None:
    if entities.null_count():
        at = entities.is_null().arg_true()[0]
        raise InvalidRequestError(f"row {at}, {columns.entity}", "an entity", "null")
    again = (~entities.is_first_distinct()).arg_true()
    if len(again):
        raise InvalidRequestError(
            f"row {again[0]}, {columns.entity}", "each entity once", f"{entities[again[0]]!r} twice"
        )
