"""How the events of an installation are to be read."""

from pydantic import ValidationError

from serving.errors import InvalidRequestError
from serving.recipes.mapping import EventMapping
from serving.settings import Settings


def event_mapping(settings: Settings) -> EventMapping | None:
    """How events are to be read; InvalidRequestError for a setting that says it wrongly."""
    if settings.event_mapping is None:
        return None
    try:
        return EventMapping.model_validate(settings.event_mapping)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"event_mapping.{where}", first["msg"], repr(first["input"])[:80]) from error
