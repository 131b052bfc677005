"""An entity's state in words, for people and tests. Pure."""

from typing import Any

import numpy as np

from serving.recipes.buckets import COUNT, DISTINCT, SUM
from serving.recipes.newest import RECORD, STAMP, read_texts
from serving.recipes.state import decode_spec, read_document
from serving.recipes.tracks import Kind, Track


def describe(document: bytes) -> dict[str, Any]:
    """Return what a document holds, times in milliseconds, ids and hashes in hex; ValueError for another format."""
    read = read_document(document)
    return {
        "newest_ms": read.newest_ms,
        "seen": [_stamp(read.seen[at : at + STAMP]) for at in range(0, len(read.seen), STAMP)],
        "tracks": [
            {
                "kind": str(track.key.kind),
                "field": track.key.field,
                "types": list(track.key.types),
                "width_ms": track.key.width_ms,
                "keep": track.keep,
                "limit": track.limit,
                "values": _values(track, blob),
            }
            for track, blob in zip(decode_spec(read.spec), read.blobs, strict=True)
        ],
    }


def _values(track: Track, blob: bytes) -> list[list[Any]]:  # noqa: PLR0911 - a table
    width = track.key.width_ms
    match track.key.kind:
        case Kind.HASHES:
            return [[*_stamp(record), record[STAMP:].hex()] for record in _cut(blob, RECORD)]
        case Kind.NUMBERS:
            return [[*_stamp(record), float(np.frombuffer(record[STAMP:], ">f8")[0])] for record in _cut(blob, RECORD)]
        case Kind.TEXTS:
            return [[*_stamp(stamp), text] for stamp, text in read_texts(blob)]
        case Kind.COUNTS:
            return [[bucket * width, count] for bucket, count in COUNT.iter_unpack(blob)]
        case Kind.SUMS:
            return [[bucket * width, *rest] for bucket, *rest in SUM.iter_unpack(blob)]
        case Kind.DISTINCT:
            return [[bucket * width, value.hex()] for bucket, value in DISTINCT.iter_unpack(blob)]
        case Kind.NEWEST:
            return [[int.from_bytes(blob)]] if blob else []


def _stamp(record: bytes) -> list[Any]:
    return [int.from_bytes(record[:8]), record[8:STAMP].hex()]


def _cut(blob: bytes, size: int) -> list[bytes]:
    return [blob[at : at + size] for at in range(0, len(blob), size)]
