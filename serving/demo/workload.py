"""A seeded stream of purchases of the shape of a year of the Online Retail data, for whoever has no data at hand.

What is put in are people, not a model's answer: a shop's products belong to themes and come and go with the seasons;
a customer has a few themes to his taste, and orders now and then. A line of an order is something bought before, or
something of a theme to his taste, or whatever sells well. Who bought what therefore says something about tastes,
and tastes say more about the next purchase than popularity does: co-occurrence has to find out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.purchases import Purchases

CUSTOMERS, PRODUCTS, PURCHASES = 1_500, 1_200, 100_000
DAYS = 396
_START_MS = 1_704_067_200_000  # 2024-01-01
_THEMES = 60
_TASTES = 3
_BASKET = 16.0
_DISTINCT = 14.0
"""Lines of an order, drawn and distinct."""
_AGAIN, _TO_TASTE = 0.2, 0.5
"""Shares of an order's lines: bought before, and of a theme to taste; the rest is what sells well."""
_SEASONAL = 0.3
"""Share of products that are sold for a part of the year only."""


@dataclass(frozen=True, slots=True)
class _Shop:
    """Products: their `theme`, how well they sell (`weight`), and the days from which and until which they do."""

    theme: NDArray[np.int64]
    weight: NDArray[np.float64]
    since: NDArray[np.float64]
    until: NDArray[np.float64]

    @classmethod
    def open(cls, rng: np.random.Generator, products: int) -> "_Shop":
        theme = rng.integers(0, _THEMES, products)
        weight = rng.lognormal(0.0, 1.1, products)
        seasonal = rng.random(products) < _SEASONAL
        since = np.where(seasonal, rng.uniform(-60, DAYS, products), 0.0)
        until = np.where(seasonal, since + rng.uniform(60, 200, products), DAYS)
        return cls(theme, weight, since, until)

    def on_sale(self, day: float) -> NDArray[np.float64]:
        """Return the weights of a day, 0 for what is not sold."""
        return np.where((self.since <= day) & (day <= self.until), self.weight, 0.0)


def generate(
    seed: int, *, customers: int = CUSTOMERS, products: int = PRODUCTS, purchases: int = PURCHASES
) -> Purchases:
    """Return about so many purchases; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    shop = _Shop.open(rng, products)
    tastes = _tastes(rng, customers)
    # A few customers order every week, most of them a handful of times.
    busy = rng.lognormal(0.0, 1.0, customers)
    orders = np.maximum(1, rng.poisson(busy / busy.sum() * purchases / _DISTINCT))
    who = np.repeat(np.arange(customers), orders)
    # Trade grows towards the end of the year.
    day = DAYS * rng.beta(1.3, 1.0, len(who))
    by_time = np.argsort(day, kind="stable")
    bought: list[list[int]] = [[] for _ in range(customers)]
    columns: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for order in by_time.tolist():
        customer = int(who[order])
        lines = _order(rng, shop.on_sale(day[order]), shop.theme, tastes[customer], bought[customer])
        bought[customer].extend(lines.tolist())
        minute = int(day[order] * 24 * 60)
        columns.append((np.full(len(lines), customer), lines, np.full(len(lines), _START_MS + minute * 60_000)))
    entities, items, ts = (np.concatenate(column) for column in zip(*columns, strict=True))
    names = [f"customer-{number:05}" for number in range(customers)]
    return Purchases.of(names, [f"product-{number:05}" for number in range(products)], entities, items, ts)


def _tastes(rng: np.random.Generator, customers: int) -> NDArray[np.float64]:
    """Return how much each customer likes each theme, [customers, themes]: a few, and those unevenly."""
    favour = rng.gamma(1.0, size=(customers, _THEMES))
    rank = np.argsort(rng.random((customers, _THEMES)), axis=1)
    favour[rank >= _TASTES] = 0
    favour /= favour.sum(axis=1, keepdims=True)
    return favour


def _order(
    rng: np.random.Generator,
    weight: NDArray[np.float64],
    theme: NDArray[np.int64],
    taste: NDArray[np.float64],
    before: list[int],
) -> NDArray[np.int64]:
    """Return the distinct products of one order, those of a theme in a row: people shop shelf by shelf."""
    size = min(len(weight), 1 + int(rng.gamma(1.5, _BASKET / 1.5)))
    again, to_taste, _ = rng.multinomial(size, (_AGAIN, _TO_TASTE, 1 - _AGAIN - _TO_TASTE))
    liked = weight * taste[theme]
    lines = [_draw(rng, liked, to_taste), _draw(rng, weight, size - again - to_taste if before else size - to_taste)]
    if before:
        lines.append(rng.choice(np.array(before), again))
    distinct = np.unique(np.concatenate(lines))
    shelf = rng.permutation(_THEMES)
    return distinct[np.lexsort((rng.random(len(distinct)), shelf[theme[distinct]]))]


def _draw(rng: np.random.Generator, weight: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Draw by weight; nothing where nothing is on sale."""
    total = np.cumsum(weight)
    if not total[-1]:
        return np.empty(0, np.int64)
    drawn: NDArray[np.int64] = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    return drawn
