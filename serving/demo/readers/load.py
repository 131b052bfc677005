"""Loads what the demo works with: a file that a user has, or else a generated stream."""

from pathlib import Path

from serving.demo.cases import month_cases
from serving.demo.purchases import Purchases
from serving.demo.workload import generate
from serving.errors import InvalidRequestError, UserError

_LEAST_PURCHASES = 100


def load(path: Path | None, seed: int) -> Purchases:
    """Read a file or folder, or generate with `seed` where there is none.

    Raises:
        InvalidRequestError: The file is none that is known; says what was expected.
        UserError: polars is missing, or the file holds too little.
    """
    if path is None:
        return generate(seed)
    if not path.exists():  # whoever has no polars learns of the typing error first
        raise InvalidRequestError("--data", "a file or folder that exists", path)
    try:
        from serving.demo.readers.files import read_purchases  # noqa: PLC0415 - polars comes with an extra
    except ModuleNotFoundError as error:
        raise UserError(f"reading {path} needs polars: pip install 'nearline[data]'") from error
    purchases = read_purchases(path)
    _check_enough(purchases, path)
    return purchases


def _check_enough(purchases: Purchases, path: Path) -> None:
    """Without somebody who bought before the cutoff and after it there is nothing to evaluate."""
    if len(purchases) < _LEAST_PURCHASES:
        raise UserError(
            f"{path}: expected at least {_LEAST_PURCHASES} purchases of known customers, got {len(purchases)}"
        )
    training = purchases.training
    known = {purchases.item_ids[item] for item in set(training.items.tolist())}
    if not month_cases(purchases, known):
        first, last = (time.date() for time in purchases.period)
        raise UserError(
            f"{path}: expected customers who bought in the last month and before it, got none in "
            f"{len(purchases)} purchases from {first} to {last}"
        )
