"""Folds events into an entity's document. Pure.

Whatever the order of delivery within the lateness, and however events are cut into batches, the document comes out the
same, byte for byte, but for the last bits of floating sums. Lateness counts from the entity's newest event; ties break
by (time, id); an id that came within the lateness has no effect again.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from struct import Struct
from typing import NamedTuple

import msgpack

from serving.recipes.buckets import find
from serving.recipes.event import Event
from serving.recipes.newest import STAMP, Stamped
from serving.recipes.state import FORMAT, Tracks

SEEN = 1000
"""Events within the lateness whose repetition is noticed; in a burst, the newest ones."""
_SEEN_BYTES = SEEN * STAMP

_stamp = Struct(">Q8s").pack
_time = Struct(">Q").unpack_from
_pack = msgpack.Packer().pack
_unpack = msgpack.unpackb


class Folded(NamedTuple):
    """What became of the events. `newest_ms`: time of the entity's newest event, -1 when there was none."""

    document: bytes
    changed: bool
    newest_ms: int
    applied: int
    duplicates: int
    late: list[Event]


_made: Callable[[type[Folded], tuple[object, ...]], Folded] = tuple.__new__
"""The named tuple's own constructor takes twice as long."""


def fold(  # noqa: C901, PLR0912 - hot: a call for each step would take longer than the steps
    document: bytes | None, events: Sequence[Event], tracks: Tracks, lateness_ms: int
) -> Folded:
    """Fold one entity's events, in order of delivery, into its document (None: there is none yet).

    `late`: those older than the newest event before them by more than the lateness; they are not folded.
    """
    if document is None:
        program, newest, seen, blobs = tracks.own, -1, b"", [b""] * len(tracks.tracks)
    else:
        found, spec, newest, seen, *blobs = _unpack(document)
        if found != FORMAT:
            raise ValueError(f"document: expected format {FORMAT}, got {found}")
        program = tracks.program(spec)
        if program.sources is not None:
            blobs = [b"" if source is None else blobs[source] for source in program.sources]
    folded: list[Stamped] = []
    late: list[Event] = []
    duplicates = 0
    for event in events:
        ts = event.ts_ms
        if ts < newest - lateness_ms:
            late.append(event)
            continue
        if seen and event.id in seen and find(seen, event.id, STAMP, 8) >= 0:
            duplicates += 1
            continue
        stamp = _stamp(ts, event.id)
        if stamp > seen[-STAMP:]:
            seen += stamp
        else:
            at = _place(seen, stamp)
            seen = seen[:at] + stamp + seen[at:]
        if ts > newest:
            newest = ts
            at = 0
            while _time(seen, at)[0] < ts - lateness_ms:
                at += STAMP
            seen = seen[at:]
        if len(seen) > _SEEN_BYTES:
            seen = seen[-_SEEN_BYTES:]
        folded.append((stamp, event))
    if not folded:
        same = document or _pack([FORMAT, program.spec, newest, seen, *blobs])
        return Folded(same, False, newest, 0, duplicates, late)
    for at, fold_track in enumerate(program.folds):
        blobs[at] = fold_track(blobs[at], folded, newest)
    made = _pack([FORMAT, program.spec, newest, seen, *blobs])
    return _made(Folded, (made, True, newest, len(folded), duplicates, late))


def _place(seen: bytes, stamp: bytes) -> int:
    return bisect_left(range(len(seen) // STAMP), stamp, key=lambda i: seen[i * STAMP : (i + 1) * STAMP]) * STAMP
