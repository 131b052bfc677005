"""An entity's state: one document, self-describing, that every recipe shares. Pure.

A document is msgpack: [format, its tracks, time of the newest event, stamps of the events within the lateness, a blob
for each track]. A track that a worker has no recipe for is folded like any other, so that workers that do not know the
same models yet agree about an entity.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgpack

from serving.recipes.buckets import Counts, DistinctValues, Sums
from serving.recipes.newest import Newest, NewestTexts, NewestTime, Stamped
from serving.recipes.recipe import Recipe
from serving.recipes.tracks import Key, Kind, Track, merged, tracks_in

FORMAT = 1
_PROGRAMS = 1000
"""Kinds of documents that are remembered: one for each mix of models that there was."""


FoldTrack = Callable[[bytes, Sequence[Stamped], int], bytes]
"""How a track changes: (blob, events, time of the entity's newest event with these) → blob."""


class Program(NamedTuple):
    """How documents with some tracks are folded: what they become, and where each blob of it comes from."""

    spec: bytes
    folds: tuple[FoldTrack, ...]
    sources: tuple[int | None, ...] | None


class Document(NamedTuple):
    """A decoded document."""

    spec: bytes
    newest_ms: int
    seen: bytes
    blobs: list[bytes]


def read_document(document: bytes) -> Document:
    """Decode; ValueError for a document of another release's format."""
    found, spec, newest_ms, seen, *blobs = msgpack.unpackb(document)
    if found != FORMAT:
        raise ValueError(f"document: expected format {FORMAT}, got {found}")
    return Document(spec, newest_ms, seen, blobs)


def encode_spec(tracks: Iterable[Track]) -> bytes:
    """Return how a document names its tracks."""
    spec: bytes = msgpack.packb([[str(t.key.kind), *t.key[1:], t.keep, t.limit] for t in tracks])
    return spec


def decode_spec(spec: bytes) -> list[Track]:
    """Read back what `encode_spec` wrote."""
    return [
        Track(Key(Kind(kind), field, tuple(types), width), keep, limit)
        for kind, field, types, width, keep, limit in msgpack.unpackb(spec)
    ]


class Tracks:
    """The tracks that some recipes want."""

    def __init__(self, tracks: Iterable[Track]) -> None:
        self.tracks = tuple(merged(tracks))
        self.spec = encode_spec(self.tracks)
        self.own = Program(self.spec, tuple(_fold(track) for track in self.tracks), None)
        self._programs = {self.spec: self.own}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tracks) and other.spec == self.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def program(self, spec: bytes) -> Program:
        """Return how a document with these tracks becomes one with ours as well."""
        known = self._programs.get(spec)
        if known is None:
            if len(self._programs) >= _PROGRAMS:
                self._programs = {self.spec: self.own}
            known = self._programs[spec] = self._compile(spec)
        return known

    def _compile(self, spec: bytes) -> Program:
        found = decode_spec(spec)
        places = {track.key: at for at, track in enumerate(found)}
        both = merged([*found, *self.tracks])
        sources = tuple(places.get(track.key) for track in both)
        wanted = encode_spec(both)
        return Program(wanted, tuple(_fold(track) for track in both), None if wanted == spec else sources)


def tracks_of(recipes: Iterable[Recipe]) -> Tracks:
    """Return what has to be remembered for all of them."""
    return Tracks(tracks_in(recipes))


def _fold(track: Track) -> FoldTrack:
    key = track.key
    match key.kind:
        case Kind.HASHES | Kind.NUMBERS:
            return Newest(key.field, key.types, track.keep, numbers=key.kind is Kind.NUMBERS).fold
        case Kind.TEXTS:
            return NewestTexts(key.field, key.types, track.keep).fold
        case Kind.COUNTS:
            return Counts(key.types, key.width_ms, track.keep).fold
        case Kind.SUMS:
            return Sums(key.field, key.types, key.width_ms, track.keep).fold
        case Kind.DISTINCT:
            return DistinctValues(key.field, key.types, key.width_ms, track.keep, track.limit).fold
        case Kind.NEWEST:
            return NewestTime(key.types).fold
