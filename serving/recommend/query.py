"""What is asked of `Recommend`, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protos.names import InvalidNameError, entity_key
from serving.errors import InvalidRequestError

MAX_K = 10_000
MAX_EXCLUDED = 10_000
MAX_ENTITIES = 1_000
MAX_CONTEXT = 100


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; `k` 0 = all that the model gives, `max_age_ms` 0 = any age.

    `context`: features of the request, by the names that the recipe's `request` fields have.
    """

    objective: str
    k: int = 0
    exclude: frozenset[str] = frozenset()
    max_age_ms: int = 0
    test: bool = False
    context: Mapping[str, float | str] = field(default_factory=dict)

    def check(self) -> None:
        """InvalidRequestError names what is wrong."""
        if not self.objective:
            raise InvalidRequestError("objective", "a name", "an empty string")
        if self.k > MAX_K:
            raise InvalidRequestError("k", f"at most {MAX_K}", self.k)
        if len(self.exclude) > MAX_EXCLUDED:
            raise InvalidRequestError("exclude", f"at most {MAX_EXCLUDED} items", len(self.exclude))
        if len(self.context) > MAX_CONTEXT:
            raise InvalidRequestError("context", f"at most {MAX_CONTEXT} features", len(self.context))


def entity_of(entity_id: str) -> bytes:
    """Return the entity's key; InvalidRequestError."""
    try:
        return entity_key(entity_id)
    except InvalidNameError as error:
        raise InvalidRequestError("entity_id", "1 to 256 bytes of UTF-8", f"{len(entity_id)} characters") from error
