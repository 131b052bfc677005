"""The libraries that only some sources need: each is an extra, imported when a model of its kind comes."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import UserError


@contextmanager
def extra(name: str, kind: str) -> Iterator[None]:
    """Around the imports of a source: UserError says which `pip install` helps. `kind`: such as `an XGBoost model`."""
    try:
        yield
    except ImportError:
        raise UserError(f"MODEL: {kind} needs pip install 'nearline[{name}]'") from None


def first_line(error: Exception) -> str:
    """The words of a foreign error that fit in one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
