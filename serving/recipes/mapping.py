"""How to read a topic that a company already has: where its records say entity, type, time, id and fields. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from serving.errors import InvalidRequestError

_MISSING = object()
_PER_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
TOP_LEVEL = "."


class EventMapping(BaseModel):
    """Dotted paths into a record, such as `payload.sku`; the defaults read our own format.

    `keyed`: the record's key is the entity, and what `entity` finds must agree with it; without, the record's body
    says the entity (the topic must still be partitioned by it). `type` None: all are of `constant_type`.
    `fields`: a path for each field, or the path of a map, or `.` for all scalars at the top that nothing else reads.
    A path that finds nothing leaves the part out, as in our own format. A time that is text is ISO 8601; one without
    an offset is UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity: str | None = "entity"
    keyed: bool = True
    type: str | None = "type"
    constant_type: str = ""
    time: str | None = "ts"
    time_unit: Literal["s", "ms", "us", "iso8601"] = "ms"
    id: str | None = "id"
    fields: dict[str, str] | str = "fields"

    def read(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record in our own format, yet to be checked; InvalidRequestError for a time that is none."""
        said: dict[str, Any] = {"type": self.constant_type} if self.type is None else {}
        for name, path in (("entity", self.entity), ("type", self.type), ("id", self.id), ("ts", self.time)):
            if path is not None and (value := _find(record, path)) is not _MISSING:
                said[name] = value
        if "ts" in said:
            said["ts"] = self.milliseconds(said["ts"])
        if not self.keyed and type(said.get("entity")) is int:
            said["entity"] = str(said["entity"])
        if isinstance(self.fields, dict):
            found = ((name, _find(record, path)) for name, path in self.fields.items())
            said["fields"] = {name: value for name, value in found if value is not _MISSING}
        elif self.fields == TOP_LEVEL:
            taken = {path.split(".")[0] for path in (self.entity, self.type, self.id, self.time) if path}
            said["fields"] = {
                name: value
                for name, value in record.items()
                if name not in taken and (value is None or isinstance(value, str | int | float))
            }
        elif (value := _find(record, self.fields)) is not _MISSING:
            said["fields"] = value
        return said

    def read_entity(self, record: Mapping[str, Any]) -> str | None:
        """Return whom a record names, whatever else is wrong with it."""
        said = _MISSING if self.entity is None else _find(record, self.entity)
        if type(said) is int and not self.keyed:
            return str(said)
        return said if isinstance(said, str) else None

    def milliseconds(self, value: Any) -> Any:
        """Return a time of a record in milliseconds; InvalidRequestError for one that is none (`ms`: as it is)."""
        if self.time_unit == "ms":
            return value
        if self.time_unit == "iso8601":
            try:
                moment = datetime.fromisoformat(value)
            except (TypeError, ValueError):
                raise InvalidRequestError(str(self.time), "a time in ISO 8601", repr(value)[:80]) from None
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return (moment - _EPOCH) // _MILLISECOND
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _MOST:
            words = {"s": "seconds", "us": "microseconds"}[self.time_unit]
            raise InvalidRequestError(str(self.time), f"{words} since the epoch", repr(value)[:80])
        if isinstance(value, int):
            return value * 1000 if self.time_unit == "s" else value // 1000
        return int(value * _PER_MS[self.time_unit])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime.resolution * 1000
_MOST = 1 << 63


def _find(record: Mapping[str, Any], path: str) -> Any:
    if "." not in path:
        return record.get(path, _MISSING)
    found: Any = record
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return _MISSING
        found = found[step]
    return found
