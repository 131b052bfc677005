"""Requests of `Recommend`, encoded, for entities that are given or made up."""

from collections.abc import Sequence

from protos.nearline.v1 import recommender_pb2

RECOMMEND = "/nearline.v1.Recommender/Recommend"
ENTITIES = 100_000
ZIPF = 0.99
"""Exponent of the usual skew of people: the hundredth most active acts about a hundredth as often as the first."""


def entities(count: int = ENTITIES, prefix: str = "entity-") -> list[str]:
    """Make up ids, `entity-1` and so on."""
    return [f"{prefix}{number}" for number in range(1, count + 1)]


def recommend_requests(
    objective: str, entity_ids: Sequence[str], k: int = 0, max_age_ms: int = 0, *, test: bool = True
) -> list[bytes]:
    """Return one for each entity. `test`: the server counts them apart from real traffic."""
    traffic = recommender_pb2.TEST if test else recommender_pb2.REAL
    return [
        recommender_pb2.RecommendRequest(
            objective=objective, entity_id=entity, k=k, max_age_ms=max_age_ms, traffic=traffic
        ).SerializeToString()
        for entity in entity_ids
    ]
