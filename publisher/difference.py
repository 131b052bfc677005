"""What changed between two bundles, field by field. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = (
    "signature",
    "recipe",
    "recommendation",
    "nearline",
    "catalogue",
    "limits",
    "stale_after",
    "owner",
    "description",
    "tags",
    "lineage",
    "graph",
    "sizes",
)
"""In the order in which they are told. Not among them: digests, and the baselines' figures."""


@dataclass(frozen=True, slots=True)
class Change:
    """A field, dotted, with what it was and what it is; None where it was not there."""

    field: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare two descriptions (publisher/description.py)."""
    one, two = dict(_fields(before)), dict(_fields(after))
    ordered = dict.fromkeys((*one, *two))
    changes = [Change(name, one.get(name), two.get(name)) for name in ordered if one.get(name) != two.get(name)]
    return sorted(changes, key=lambda change: SECTIONS.index(change.field.partition(".")[0]))


def _fields(description: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section in SECTIONS:
        yield from _flat(section, description.get(section))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, inner in value.items():
        yield from _flat(f"{path}.{name}", inner)
