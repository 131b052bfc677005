"""Topics and the keys of their records."""

from protos.ledger import World
from protos.topics import Kept, Topics, fault_key, instance_key, presence_key


def test_each_topic_is_kept_as_its_meaning_needs() -> None:
    topics = Topics("x.", event_partitions=3, event_retention_s=60)
    kept = {spec.name: (spec.kept, spec.partitions, spec.retention_s) for spec in topics.all()}
    assert kept == {
        "x.models": (Kept.FOR_EVER, 1, 0),
        "x.status": (Kept.COMPACTED, 1, 0),
        "x.events": (Kept.BY_TIME, 3, 60),
        "x.commands": (Kept.BY_TIME, 3, 7 * 24 * 3600),
        "x.dead-letters": (Kept.BY_TIME, 1, 30 * 24 * 3600),
    }


def test_commands_are_partitioned_like_events_and_outlive_them() -> None:
    topics = Topics("x.", event_retention_s=30 * 24 * 3600, events_topic="shop.clicks")
    assert topics.events.name == topics.commands.like == "shop.clicks"
    assert topics.commands.retention_s == topics.events.retention_s
    assert Topics("x.").events.name == Topics("x.").commands.like == "x.events"


def test_keys_of_status_records_cannot_be_mistaken_for_one_another() -> None:
    keys = {presence_key("n", "w"), instance_key("n", "w", "m", 1), fault_key("n", "w", 1)}
    assert keys == {b"n/w", b"n/w/m/1", b"n/w/@ledger/1"}
    assert not World().apply(0, b"@ledger", b"").model
