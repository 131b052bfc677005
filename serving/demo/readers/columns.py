"""From a table of texts to purchases: the last step of every reader."""

import polars as pl

from serving.demo.purchases import Purchases


def to_purchases(table: pl.DataFrame) -> Purchases:
    """Turn the columns `entity` and `item` (text) and `ts` (ms) into purchases; rows without one of them are left out.

    Ids are numbered in sorted order, so that the numbering does not depend on the order of rows.
    """
    full = table.drop_nulls(("entity", "item", "ts"))
    entity_ids = full["entity"].unique().sort()
    item_ids = full["item"].unique().sort()
    return Purchases.of(
        entity_ids.to_list(),
        item_ids.to_list(),
        full["entity"].cast(pl.Enum(entity_ids)).to_physical().to_numpy(),
        full["item"].cast(pl.Enum(item_ids)).to_physical().to_numpy(),
        full["ts"].to_numpy(),
    )
