"""A model that is far too slow for its events, beside one that is not."""

from serving.recipes.event import encode_event
from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.outcome import looking
from tests.end_to_end.nearline.slow import publish_version
from tests.end_to_end.waiting import wait_until

ENTITIES = [f"e{number}" for number in range(24)]


def test_a_slow_model_delays_itself_and_neither_another_nor_the_position(installation: Installation) -> None:
    shop = installation.having(event_partitions="4", workers="1")
    settings = shop.settings()
    events = settings.topics.events.name
    with Node(shop) as node, looking(settings) as look:
        for model, slow in (("fast", False), ("slow", True)):
            publish_version(shop, model, 1, slow=slow)
            shop.wait_for_state(model, 1, {"READY"}, 2)
        for wave in range(2):
            # Not any prediction will do: what the wave brings has to be seen in the answer.
            look.append(events, [encode_event(entity, {"item": f"v1-{3 * wave}"}) for entity in ENTITIES])
            fresh = f"v1-{3 * wave + 1}"
            wait_until(lambda: all(_tells(node, e, fresh) for e in ENTITIES[::3]), f"wave {wave} in the fast one")  # noqa: B023
            wait_until(lambda: look.consumed() == len(ENTITIES) * (wave + 1), "the position moves on")  # noqa: B023
            wait_until(lambda: node.metric("nearline_due") > 0, "the slow one is behind")
        wait_until(lambda: node.metric("nearline_lag_records") == 0, "nothing waits")
        wait_until(lambda: not look.unsettled(), "the slow one comes to an end")
        answer = recommend(node.address, "slow", ENTITIES[0])
        assert answer.source == NEARLINE
        assert {"v1-1", "v1-4"} <= set(answer.item_ids), "it knows both waves"


def _tells(node: Node, entity: str, item: str) -> bool:
    answer = recommend(node.address, "fast", entity)
    return answer.source == NEARLINE and item in answer.item_ids
