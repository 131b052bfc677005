"""What stands against a snapshot."""

from typing import Any

import pytest

from protos.topics import Topics
from serving.snapshots.choose import may_lack_events, reason_against
from serving.snapshots.logs import Logs
from serving.snapshots.manifest import Log, Manifest

TOPICS = Topics("t.", event_partitions=2, event_retention_s=8 * 86_400)
EVENTS = Log(topic="t.events", identity="e", partitions=2)
COMMANDS = Log(topic="t.commands", identity="c", partitions=2)
LOGS = Logs(EVENTS, COMMANDS, ({0: 10, 1: 5}, {0: 0, 1: 0}))
DAY_MS = 86_400_000


def manifest(**changed: Any) -> Manifest:
    said: dict[str, Any] = {
        "name": "n",
        "created_ms": 0,
        "node": "one",
        "nearline_version": "0.1.0",
        "events": EVENTS,
        "commands": COMMANDS,
        "shards": {0: (("e", 10), ("c", 0)), 1: (("old", 99),)},
        "size": 1,
        "sha256": "",
    }
    return Manifest.model_validate({**said, **changed})


def test_nothing_stands_against_one_of_these_logs() -> None:
    assert reason_against(manifest(), LOGS, TOPICS, 7 * DAY_MS) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"events": EVENTS.model_copy(update={"identity": "x"})}, "created again since: expected e, got x"),
        ({"commands": COMMANDS.model_copy(update={"identity": "x"})}, "t.commands was created again"),
        ({"events": EVENTS.model_copy(update={"topic": "clicks"})}, "taken of clicks, not of t.events"),
        ({"events": EVENTS.model_copy(update={"partitions": 1})}, "has 2 partitions, and had 1"),
        ({"shards": {1: (("e", 6),)}}, "partition 1 of t.events ends at 5, before its position 6"),
        ({"shards": {0: (("c", 1),)}}, "partition 0 of t.commands ends at 0"),
    ],
)
def test_it_has_to_be_of_the_logs_as_they_are(changed: dict[str, Any], reason: str) -> None:
    assert reason in reason_against(manifest(**changed), LOGS, TOPICS, 0)


def test_a_missing_topic_is_said() -> None:
    gone = Logs(EVENTS.model_copy(update={"identity": "", "partitions": 0}), COMMANDS, ({}, {}))
    assert reason_against(manifest(), gone, TOPICS, 0) == "there is no topic t.events"


def test_one_older_than_erasures_are_kept_is_refused() -> None:
    assert "erasures since may be lost" in reason_against(manifest(), LOGS, TOPICS, 8 * DAY_MS + 1)


def test_one_older_than_events_are_kept_is_used_and_that_is_said() -> None:
    short = Topics("t.", event_partitions=2, event_retention_s=3600)
    assert reason_against(manifest(), LOGS, short, DAY_MS) == ""
    assert may_lack_events(manifest(), short, DAY_MS)
    assert not may_lack_events(manifest(), short, 3_600_000)
