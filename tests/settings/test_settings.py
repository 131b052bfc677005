"""Settings: from where they come, which wins, and what a wrong one says."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from protos.topics import Topics
from serving.cli.options import load_settings
from serving.errors import InvalidRequestError
from serving.settings import Settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("NEARLINE_")]:
        monkeypatch.delenv(name)


def test_every_setting_has_a_default_and_a_description() -> None:
    Settings()
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_default_node_is_this_host_by_a_name_that_may_be_a_key() -> None:
    assert Settings.model_validate({"node": Settings().node}).node == Settings().node


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data_dir", "/srv/nearline", Path("/srv/nearline")),
        ("bus", "kafka://a:1,b:2", "kafka://a:1,b:2"),
        ("store", "redis://h:6379/0", "redis://h:6379/0"),
        ("labels", '{"region":"eu","app":"shop"}', {"region": "eu", "app": "shop"}),
        ("port", "0", 0),
        ("grace_s", "0.5", 0.5),
        ("nearline_workers", "0", 0),
        ("log_level", "warning", "warning"),
    ],
)
def test_a_variable_sets_what_it_names(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(f"NEARLINE_{name.upper()}", text)
    assert getattr(load_settings(), name) == value


def test_an_option_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_PORT", "1111")
    monkeypatch.setenv("NEARLINE_WORKERS", "3")
    loaded = load_settings(port=2222, workers=None)
    assert (loaded.port, loaded.workers, loaded.nearline_workers) == (2222, 3, Settings().nearline_workers)


def test_labels_given_as_options_replace_those_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_LABELS", '{"region":"eu"}')
    assert load_settings(labels={"app": "shop"}).labels == {"app": "shop"}


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("PORT", "99999", "NEARLINE_PORT: expected less than or equal to 65535, got '99999'"),
        ("PORT", "tcp://10.0.0.1:8500", "NEARLINE_PORT: expected a valid integer.*, got 'tcp://10.0.0.1:8500'"),
        ("WORKERS", "0", "NEARLINE_WORKERS: expected greater than or equal to 1, got '0'"),
        ("EVENT_PARTITIONS", "many", "NEARLINE_EVENT_PARTITIONS: expected a valid integer.*, got 'many'"),
        ("TRIAL_TIMEOUT_S", "0", "NEARLINE_TRIAL_TIMEOUT_S: expected greater than 0, got '0'"),
        ("LABELS", "{region", "NEARLINE_LABELS: expected JSON, got '{region'"),
        ("LABELS", '{"region":"a/b"}', "NEARLINE_LABELS: expected 1 to 63 letters, digits, .*, got 'a/b'"),
        ("NODE", "a/b", "NEARLINE_NODE: expected 1 to 63 letters, digits, .*, got 'a/b'"),
        ("STORE", "sqlite", "NEARLINE_STORE: expected `lmdb` or redis://host:port/db, got 'sqlite'"),
        ("LOG_LEVEL", "loud", "NEARLINE_LOG_LEVEL: expected 'debug', 'info', 'warning' or 'error', got 'loud'"),
        ("LOG_FORMAT", "xml", "NEARLINE_LOG_FORMAT: expected 'json', 'human' or 'auto', got 'xml'"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str
) -> None:
    monkeypatch.setenv(f"NEARLINE_{variable}", text)
    with pytest.raises(InvalidRequestError, match=f"^{message}$"):
        load_settings()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": -1}, "--port: expected greater than or equal to 0, got -1"),
        ({"metrics_port": 70000}, "--metrics-port: expected less than or equal to 65535, got 70000"),
        ({"labels": {"a": "b c"}}, "--label: expected 1 to 63 letters, digits, .*, got 'b c'"),
    ],
)
def test_a_wrong_option_is_named_as_it_was_typed(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{message}$"):
        load_settings(**options)


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="portt"):
        Settings.model_validate({"portt": 1})


def test_settings_travel_to_workers_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARLINE_LABELS", "not json: a worker does not read its environment")
    with pytest.raises(SettingsError):
        Settings()
    monkeypatch.delenv("NEARLINE_LABELS")
    told = Settings(port=1, labels={"region": "eu"}, data_dir=Path("somewhere"))
    monkeypatch.setenv("NEARLINE_PORT", "2")
    assert Settings.model_validate_json(told.model_dump_json()) == told


def test_artifacts_are_in_the_data_directory_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("data")).artifacts_url == (tmp_path / "data" / "artifacts").as_uri()
    assert Settings(artifacts="s3://bucket/models").artifacts_url == "s3://bucket/models"


def test_topics_follow_the_prefix_and_the_partitions() -> None:
    topics = Settings(topic_prefix="shop.", event_partitions=3, event_retention_s=60).topics
    assert {topic.name.split(".")[0] for topic in topics.all()} == {"shop"}
    assert (topics.events.partitions, topics.events.retention_s) == (3, 60)


def test_events_may_be_read_from_a_topic_of_another_name() -> None:
    topics = Settings(topic_prefix="shop.", events_topic="clicks-v2").topics
    assert [topic.name for topic in topics.all() if not topic.name.startswith("shop.")] == ["clicks-v2"]
    assert Settings(topic_prefix="shop.", events_topic="shop.events").topics == Topics(
        "shop.", events_topic="shop.events"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cl icks", "1 to 249 letters"), ("a" * 250, "1 to 249 letters"), ("shop.commands", "no other use for")],
)
def test_a_topic_of_events_that_cannot_be_one_is_refused(name: str, expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Settings(topic_prefix="shop.", events_topic=name)


def test_a_variable_that_is_nearly_a_setting_is_named_and_others_are_none_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEARLINE_SERVICE_PORT", "8500")
    load_settings()
    monkeypatch.setenv("NEARLINE_BUSS", "kafka://broker:9092")
    with pytest.raises(InvalidRequestError, match="expected NEARLINE_BUS, got NEARLINE_BUSS"):
        load_settings()
