"""Small streams, written down as (entity, item, day)."""

from collections.abc import Iterable

import numpy as np

from serving.demo.purchases import DAY_MS, Purchases


def stream(lines: Iterable[tuple[str, str, float]]) -> Purchases:
    rows = list(lines)
    entity_ids = sorted({entity for entity, _, _ in rows})
    item_ids = sorted({item for _, item, _ in rows})
    return Purchases.of(
        entity_ids,
        item_ids,
        np.array([entity_ids.index(entity) for entity, _, _ in rows]),
        np.array([item_ids.index(item) for _, item, _ in rows]),
        np.array([int(day * DAY_MS) for _, _, day in rows]),
    )
