"""Recipes with every operation, streams of events, and orders of delivery within a lateness."""

from dataclasses import dataclass

from hypothesis import strategies as st

from serving.recipes.event import Event, id_hash
from serving.recipes.parse import parse_recipe
from serving.recipes.scalars import Scalar

CATALOGUE = ["a", "b", "c", "7"]
MINUTE = 60_000
LATENESS = 3 * MINUTE
START = 1_000 * MINUTE

EVERYTHING = parse_recipe("""
history: {n: 3, mask: history_mask}
with_unknown: {op: last_n, field: item, n: 2, unknown: 9, types: [view]}
prices: {op: last_n, field: price, n: 2, vocabulary: null, pad: 0.5}
words: {op: last_n, field: item, n: 2, vocabulary: null, pad: ""}
last_item: {op: last, field: item, vocabulary: [b, z], missing: 5}
last_unknown: {op: last, field: item, vocabulary: catalogue, unknown: 7}
last_price: {op: last, field: price, types: [buy]}
last_word: {op: last, field: item, missing: "none"}
views: {op: count, window: 5m, types: [view, buy]}
all: {op: count, window: 1h}
spent: {op: sum, field: price, window: 6m, bucket: 2m}
mean_price: {op: mean, field: price, window: 5m, missing: -1}
max_price: {op: max, field: price, window: 5m, types: [buy]}
items: {op: distinct, field: item, window: 4m}
few_items: {op: distinct, field: item, window: 1h, limit: 2}
idle: {op: age}
since_buy: {op: age, types: [buy]}
page: {op: request, field: page, default: home, vocabulary: [home, cart]}
hour: {op: request, field: hour, default: 12}
word: {op: request, field: word, default: ""}
bias: {op: constant, value: 1}
""")


@dataclass(frozen=True)
class Tensor:
    name: str
    datatype: str
    shape: tuple[int, ...]


TEXTS = {"words": 2, "last_word": 0, "word": 0}
SHAPES = {"history": 3, "history_mask": 3, "with_unknown": 2, "prices": 2, "words": 2}
WHOLE = {"history", "with_unknown", "last_item", "last_unknown", "page"}
INPUTS = [
    Tensor(
        name,
        "BYTES" if name in TEXTS else "INT64" if name in WHOLE else "FP64",
        (-1, SHAPES[name]) if name in SHAPES else (-1,),
    )
    for name in [*EVERYTHING, "history_mask"]
]

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "item": st.sampled_from(["a", "b", "c", "new", "z", "", 7, True, None]),
        "price": st.one_of(st.integers(-5, 5), st.sampled_from([0.25, -3.5, 1e3, True, "text", None])),
    },
)


def event(at: int, number: int, kind: str, fields: dict[str, Scalar]) -> Event:
    return Event(b"e", id_hash(number), kind, START + at, fields)


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(0, 12).map(lambda n: n * MINUTE // 2) | st.integers(0, 8 * MINUTE),
        st.integers(0, 1000),
        st.sampled_from(["view", "buy", "other"]),
        FIELDS,
    ),
    max_size=14,
    unique_by=lambda e: e.id,
)


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda e: (e.ts_ms, e.id))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """The events in order, and a delivery of them in which none is later than LATENESS, with repetitions."""
    events = in_order(draw(EVENTS))
    waiting, delivered, newest = list(events), [], -1
    while waiting:
        # One may come now if none that still waits would be too late after it.
        first = min(e.ts_ms for e in waiting)
        able = [e for e in waiting if max(newest, e.ts_ms) <= first + LATENESS]
        chosen = draw(st.sampled_from(able))
        waiting.remove(chosen)
        delivered.append(chosen)
        newest = max(newest, chosen.ts_ms)
        again = [e for e in delivered if e.ts_ms >= newest - LATENESS]
        delivered += draw(st.lists(st.sampled_from(again), max_size=1))
    return events, delivered
