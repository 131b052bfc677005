"""Each role does its work with the ACLs that `nearline acls` prints, needs each of them, and can do nothing else."""

import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from protos.nearline.v1 import status_pb2
from protos.topics import Topics, presence_key
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import BusUnavailableError
from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import write_recommender
from tests.end_to_end.waiting import wait_until
from tests.servers.kafka.secured import SecuredBroker, password

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]  # a broker, a node, and a dozen commands

ROLES = {
    "publisher": "publisher",
    "node": "node",
    "event-producer": "producer",
    "operator": "operator",
    "reader": "reader",
}
"""Who has which role here."""


_EXPIRES = "inputs: {history: {op: last_n, field: item, n: 4}}\nnearline: {ttl: 1s, switch: on-load}\n"


class Deployment:
    """An installation on the secured broker, with the ACLs that it needs; `as_` is the same one for a user."""

    def __init__(self, broker: SecuredBroker, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self.prefix = f"t{uuid.uuid4().hex[:10]}."
        self.topics = Topics(self.prefix)
        named = [part for role, user in ROLES.items() for part in (f"--{role}", user)]
        self.acls: list[dict[str, Any]] = self.as_("nobody").ask("acls", *named)["acls"]
        grant(broker.address, self.acls)

    def as_(self, user: str) -> Installation:
        given = self._broker.settings(user, topic_prefix=self.prefix)
        return Installation(self._folder, given)

    def bus(self, user: str) -> Bus:
        return connect_bus(self.as_(user).settings())

    def granted(self) -> set[tuple[str, str, str, str]]:
        """(user, operation, kind, name)."""
        return {
            (acl["principal"].removeprefix("User:"), operation.upper(), acl["resource"].capitalize(), acl["name"])
            for acl in self.acls
            for operation in acl["operations"]
        }

    def asked(self, *, allowed: bool) -> set[tuple[str, str, str, str]]:
        """The same of what was asked of the authorizer; a group by what its name has to begin with."""
        return {
            (d.user, d.operation, d.kind, self.topics.groups if d.kind == "Group" else d.name)
            for d in self._broker.audit()
            if d.allowed == allowed and d.name.startswith(self.prefix)
        }


def grant(servers: str, acls: list[dict[str, Any]]) -> None:
    """As the administrator."""
    from kafka import KafkaAdminClient  # noqa: PLC0415 - it warns when imported, see conftest.py
    from kafka.admin import (  # noqa: PLC0415 - as above
        ACL,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ResourcePattern,
        ResourceType,
    )

    wanted = [
        ACL(
            principal=acl["principal"],
            host="*",
            operation=ACLOperation[operation.upper()],
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=ResourcePattern(
                ResourceType[acl["resource"].upper()],
                acl["name"],
                ACLResourcePatternType.PREFIXED if acl["prefixed"] else ACLResourcePatternType.LITERAL,
            ),
        )
        for acl in acls
        for operation in acl["operations"]
    ]
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        created = admin.create_acls(wanted)
        assert not created["failed"], created
    finally:
        admin.close()


@pytest.fixture
def deployment(secured_kafka: SecuredBroker, tmp_path: Path) -> Deployment:
    return Deployment(secured_kafka, tmp_path)


def test_the_main_job_works_with_these_acls_and_needs_every_one_of_them(deployment: Deployment, tmp_path: Path) -> None:
    publisher, operator = deployment.as_("publisher"), deployment.as_("operator")
    graph, items = write_recommender(tmp_path, 1)
    assert publisher.ask("publish", "shop", str(graph), "--items", str(items))["version"] == 1

    with Node(deployment.as_("node")) as node:
        deployment.as_("reader").wait_for_state("shop", 1, {"READY"}, node.workers)
        deployment.as_("producer").ask("event", "ann", "item=v1-3")
        wait_until(lambda: recommend(node.address, "shop", "ann").source == NEARLINE, "a prediction made near-line")

        graph, items = write_recommender(tmp_path, 2)
        (tmp_path / "recipe.yaml").write_text(_EXPIRES)
        recipe = ("--recipe", str(tmp_path / "recipe.yaml"))
        published = publisher.ask("publish", "shop", str(graph), "--items", str(items), *recipe, "--wait")
        assert {instance["state"] for instance in published["instances"]} == {"READY"}
        deployment.as_("producer").ask("event", "ann", "item=v2-3")  # version 2 knows no item of version 1
        asked_for = ("node", "WRITE", "Topic", deployment.topics.commands.name)
        wait_until(
            lambda: recommend(node.address, "shop", "ann").item_ids and asked_for in deployment.asked(allowed=True),
            "a prediction that has expired, and is asked for on commands",
        )

        operator.ask("erase", "ann", "--yes")
        bad = deployment.bus("producer")
        bad.append(deployment.topics.events.name, b"ann", b"no event")
        bad.close()
        letters = wait_until(lambda: operator.ask("dead-letters")["letters"], "a dead letter")
        assert letters[0]["key"] == "ann"
        assert operator.ask("dead-letters", "--retry", "--yes")["appended"] == 1
        assert {worker["live"] for worker in deployment.as_("reader").ask("nodes")["workers"]} == {True}
        deployment.as_("reader").ask("blocked", "shop")
        operator.ask("loads", "shop")
        publisher.ask("rollback", "shop")

        commands = [psutil.Process(pid).cmdline() for pid in (node.pid, *node.info["workers"].values())]
        assert password("node") not in str(commands)
    assert password("node") not in node.log.read_text()

    gone = status_pb2.Presence(node="gone", worker="serving-0", incarnation="x")
    bus = deployment.bus("node")
    bus.ensure_topics(deployment.topics.all())
    record = status_pb2.StatusRecord(presence=gone).SerializeToString()
    bus.append(deployment.topics.status.name, presence_key("gone", "serving-0"), record)
    bus.close()
    wait_until(lambda: operator.ask("nodes", "--prune")["pruned"] == 1, "a worker that is not live any more")

    assert deployment.asked(allowed=False) == set()
    never = deployment.granted() - deployment.asked(allowed=True)
    assert {right for right in never if right[1] != "CREATE" or right[0] == "publisher"} == set()


def test_a_node_may_be_the_first_to_come(deployment: Deployment) -> None:
    bus = deployment.bus("node")
    bus.ensure_topics(deployment.topics.all())
    bus.close()
    created = {right for right in deployment.granted() if right[:2] == ("node", "CREATE")}
    assert created <= deployment.asked(allowed=True)


@pytest.fixture
def running(deployment: Deployment) -> Deployment:
    """With its topics, made by who may."""
    bus = deployment.bus("publisher")
    bus.ensure_topics(deployment.topics.all())
    bus.close()
    return deployment


def test_who_has_not_the_right_cannot_announce(running: Deployment, tmp_path: Path) -> None:
    graph, items = write_recommender(tmp_path, 1)
    for user, right in (("producer", "Describe"), ("reader", "Write"), ("operator", "Write"), ("nobody", "Describe")):
        ended = running.as_(user).run("publish", "shop", str(graph), "--items", str(items))
        assert ended.returncode == 3, (user, ended.stdout, ended.stderr)
        assert f"not authorized: user '{user}', mechanism SCRAM-SHA-512, needs {right} on topic" in ended.stderr
        assert running.topics.models.name in ended.stderr or right == "Describe"
        assert password(user) not in ended.stderr
    assert running.as_("publisher").ask("publish", "shop", str(graph), "--items", str(items))["version"] == 1


@pytest.mark.parametrize("user", ["node", "producer", "operator", "reader", "nobody"])
def test_only_publishers_write_the_ledger(running: Deployment, user: str) -> None:
    bus = running.bus(user)
    with pytest.raises(BusUnavailableError, match=f"not authorized: user '{user}'.*{running.topics.models.name}"):
        bus.append(running.topics.models.name, b"shop", b"whatever")
    bus.close()
    writer = running.bus("publisher")
    assert writer.end_offsets(running.topics.models.name) == {0: 0}
    writer.close()


def test_a_producer_of_events_reads_nothing(running: Deployment) -> None:
    bus, events = running.bus("producer"), running.topics.events.name
    bus.append(events, b"ann", b"value")
    reader = bus.reader(events)
    with pytest.raises(BusUnavailableError, match=f"user 'producer'.*needs Read on topic {events}"):
        wait_until(lambda: reader.poll(0.5), "an error")
    reader.close()
    for spec in running.topics.all():
        if spec.name != events:
            with pytest.raises(BusUnavailableError, match=f"needs Describe on topic {spec.name}"):
                bus.reader(spec.name)
    bus.close()


def test_who_may_not_join_a_group_is_told_which_one(running: Deployment) -> None:
    bus, group = running.bus("operator"), f"{running.topics.groups}.one"
    member = bus.member(group, running.topics.events.name, lambda _: None, lambda _: None)
    with pytest.raises(BusUnavailableError, match=f"user 'operator'.*needs Read on the consumer group.*{group}"):
        wait_until(lambda: member.poll(0.5), "an error")
    member.close()
    bus.close()
