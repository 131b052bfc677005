"""A table of past events, sorted, and where the instants of labels fall into it."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from serving.errors import InvalidRequestError
from serving.recipes.event import id_hash
from serving.recipes.mapping import TOP_LEVEL, EventMapping
from serving.recipes.scalars import MAX_TEXT

Ints = NDArray[np.int64]


class Labels(NamedTuple):
    """The rows to compute: number of the entity, -1 for one without events, and instant in milliseconds."""

    entity: Ints
    instant: Ints


class Chosen(NamedTuple):
    """Some of the events, sorted by entity, time and id: entity, time, value (of a field, if one was asked for)."""

    entity: Ints
    ts: Ints
    value: pl.Series

    def before(self, entity: Ints, instants: Ints) -> Ints:
        """Return how many of the events come before each instant of that entity, all of smaller entities included."""
        times = np.unique(self.ts)
        # One number that sorts like (entity, time).
        own = self.entity * (times.size + 1) + np.searchsorted(times, self.ts)
        return np.searchsorted(own, entity * (times.size + 1) + np.searchsorted(times, instants))


class PastEvents:
    """Each event once, sorted by entity, time and id."""

    def __init__(self, frame: pl.DataFrame, mapping: EventMapping) -> None:
        self._source = frame
        self._mapping = mapping
        entity = self._required("entity", mapping.entity).cast(pl.String)
        kind = None if mapping.type is None else self._at(mapping.type)
        identity = None if mapping.id is None else self._at(mapping.id)
        constant = pl.Series([mapping.constant_type], dtype=pl.String).new_from_index(0, frame.height)
        sorted_ = pl.DataFrame(
            {
                "entity": entity,
                "ts": _milliseconds("events", self._required("ts", mapping.time), mapping),
                "type": constant if kind is None else kind.cast(pl.String).fill_null(mapping.constant_type),
                "id": pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
                if identity is None
                else identity.cast(pl.String),
            }
        ).with_row_index("row")
        if sorted_["entity"].null_count():
            raise InvalidRequestError("events.entity", "an entity in every row", "null")
        order = _order(sorted_["id"])
        sorted_ = sorted_.with_columns(order=pl.Series(order)).sort("entity", "ts", "order", "row")
        # Without an id a row is an event of its own: nulls are not counted.
        sorted_ = sorted_.filter(pl.col("id").cum_count().over("entity", "id") <= 1)
        self._entities = sorted_.select(pl.col("entity").unique(maintain_order=True)).with_row_index("number")
        self._frame = sorted_.join(self._entities, on="entity", how="left", maintain_order="left")

    def labels(self, frame: pl.DataFrame) -> Labels:
        """Read `entity` and `ts`."""
        for name in ("entity", "ts"):
            if name not in frame.columns:
                raise InvalidRequestError(f"labels.{name}", f"one of the columns {frame.columns}", "none")
        entity = frame.select(pl.col("entity").cast(pl.String))
        number = entity.join(self._entities, on="entity", how="left", maintain_order="left")["number"]
        instant = _milliseconds("labels", frame["ts"], EventMapping())
        return Labels(number.cast(pl.Int64).fill_null(-1).to_numpy(), instant.to_numpy())

    def choose(self, types: tuple[str, ...], field: str | None, kind: str) -> Chosen:
        """Return the events of the types (none: all) that have a value of the field: `words`, `numbers` or `text`."""
        frame = self._frame
        values = pl.Series("value", [True]).new_from_index(0, frame.height)
        if field is not None:
            values = _values(self._field(field), kind).gather(frame["row"])
        frame = frame.with_columns(value=values).filter(pl.col("value").is_not_null())
        if types:
            frame = frame.filter(pl.col("type").is_in(list(types)))
        return Chosen(frame["number"].cast(pl.Int64).to_numpy(), frame["ts"].to_numpy(), frame["value"])

    def _field(self, name: str) -> pl.Series:
        fields = self._mapping.fields
        if isinstance(fields, dict):
            path = fields.get(name, name)
        else:
            path = name if fields == TOP_LEVEL else f"{fields}.{name}"
        return self._required(name, path)

    def _required(self, name: str, path: str | None) -> pl.Series:
        found = None if path is None else self._at(path)
        if found is None:
            raise InvalidRequestError(f"events.{name}", f"{path!r} among the columns {self._source.columns}", "none")
        return found

    def _at(self, path: str) -> pl.Series | None:
        if path in self._source.columns:
            return self._source[path]
        first, *rest = path.split(".")
        found = self._source[first] if first in self._source.columns else None
        for step in rest:
            if found is None or not isinstance(found.dtype, pl.Struct) or step not in found.struct.fields:
                return None
            found = found.struct.field(step)
        return found if rest else None


def _order(identity: pl.Series) -> NDArray[Any]:
    """Ties in time go by the eight bytes that stand for an id near-line."""
    hashes = (b"" if text is None else id_hash(text) for text in identity)
    return np.frombuffer(b"".join(found.rjust(8, b"\0") for found in hashes), ">u8").astype(np.uint64)


def _milliseconds(table: str, column: pl.Series, mapping: EventMapping) -> pl.Series:
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    if isinstance(column.dtype, pl.Datetime):
        found = column.dt.epoch("ms")
    elif column.dtype.is_integer() and mapping.time_unit == "ms":
        found = column.cast(pl.Int64)
    elif column.dtype.is_numeric() or column.dtype == pl.String:
        if mapping.time_unit == "ms":
            raise InvalidRequestError(f"{table}.ts", "integer milliseconds or datetimes", column.dtype)
        found = pl.Series([mapping.milliseconds(value) for value in column], dtype=pl.Int64)
    else:
        raise InvalidRequestError(f"{table}.ts", "integer milliseconds or datetimes", column.dtype)
    if found.null_count() or (found < 0).any():
        raise InvalidRequestError(f"{table}.ts", "a time since 1970 in every row", "null or an earlier one")
    return found.alias("ts")


def _values(column: pl.Series, kind: str) -> pl.Series:
    """The value of each row, null where there is none, by the rules of serving/recipes/scalars.py."""
    dtype = column.dtype
    if kind == "numbers":
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            return pl.Series([None], dtype=pl.Float64).new_from_index(0, len(column))
        numbers = column.cast(pl.Float64)
        return numbers.set(~numbers.is_finite(), None)
    if dtype.is_float():
        # Polars writes some floats in another way than JSON does.
        different = column.unique()
        texts = pl.Series([None if value is None else str(value) for value in different], dtype=pl.String)
        words = column.replace_strict(different, texts, return_dtype=pl.String)
    elif dtype in {pl.String, pl.Boolean, pl.Null} or dtype.is_integer() or isinstance(dtype, pl.Categorical | pl.Enum):
        words = column.cast(pl.String)
    else:
        raise InvalidRequestError(f"events.{column.name}", "text, numbers or booleans", dtype)
    if kind == "text" and (dtype.is_numeric() or dtype == pl.Boolean):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(column))
    length = words.str.len_chars()
    return words.set((length == 0) | (length > MAX_TEXT), None)
