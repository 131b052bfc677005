"""TLS and logins on a real broker: what works, and that what does not is said in its own words."""

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from protos.topics import Topics
from serving.bus.connect import connect_bus
from serving.bus.kafka.tokens import ClientCredentials
from serving.errors import BusUnavailableError, InvalidRequestError
from serving.settings import Settings
from tests.bus.harness import read_all, topic, until, values
from tests.servers.kafka.secured import SecuredBroker
from tests.servers.kafka.tokens import Issuer, TokenEndpoint

pytestmark = [pytest.mark.kafka]

Given = dict[str, Any]
SECRET = "s:e/c ret%"


def goes_through(given: Given) -> None:
    """A record there and back, as that user."""
    bus, spec = connect_bus(Settings(**given)), topic()
    try:
        bus.ensure_topics([spec])
        bus.append(spec.name, b"key", b"value")
        assert values(read_all(bus, spec.name)) == [b"value"]
    finally:
        bus.close()


def refusal(given: Given) -> str:
    """Why nothing can be done."""
    bus = connect_bus(Settings(**given))
    with pytest.raises(BusUnavailableError) as refused:
        bus.partitions("topic")
    bus.close()
    return str(refused.value)


def by_token(broker: SecuredBroker, **more: Any) -> Given:
    given = broker.settings("", kafka_sasl_mechanism="OAUTHBEARER", **more)
    del given["kafka_user"], given["kafka_password"]
    return given


def over_tls(broker: SecuredBroker, listener: str, **more: Any) -> Given:
    server = f"kafka://{broker.at(listener)}"
    return {"bus": server, "kafka_security_protocol": "SSL", "kafka_tls_ca": broker.ca_file, **more}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
def test_a_user_logs_in_with_a_password(secured_kafka: SecuredBroker, mechanism: str) -> None:
    goes_through(secured_kafka.settings("root", kafka_sasl_mechanism=mechanism))


def test_a_user_logs_in_with_a_password_from_a_file_and_with_the_next_one_in_it(
    secured_kafka: SecuredBroker, tmp_path: Path
) -> None:
    given = secured_kafka.settings("root", kafka_password_file=tmp_path / "password")
    good = given.pop("kafka_password")
    bus, spec = connect_bus(Settings(**given)), topic()
    (tmp_path / "password").write_text("another")
    with pytest.raises(BusUnavailableError, match="authentication failed: user 'root'"):
        bus.ensure_topics([spec])
    (tmp_path / "password").write_text(f"{good}\n")
    bus.ensure_topics([spec])
    bus.append(spec.name, b"key", b"value")
    bus.close()


def test_a_client_is_known_by_its_certificate(secured_kafka: SecuredBroker) -> None:
    goes_through(over_tls(secured_kafka, "SSL", kafka_tls_certificate=secured_kafka.client_certificate("root")))


def test_a_token_from_a_file_is_a_login(secured_kafka: SecuredBroker, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(secured_kafka.issuer.token("root"))
    goes_through(by_token(secured_kafka, kafka_token_file=token))
    token.write_text(secured_kafka.issuer.token("root", lifetime_s=-1000))
    said = refusal(by_token(secured_kafka, kafka_token_file=token))
    assert f"authentication failed: the token in {token}, mechanism OAUTHBEARER" in said
    assert "invalid_token" in said


def test_a_token_from_an_endpoint_is_a_login_that_outlives_the_token(
    secured_kafka: SecuredBroker, tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with TokenEndpoint(secured_kafka.issuer, "root", SECRET).served(context) as endpoint:
        endpoint.lifetime_s = 6.0  # long enough for a busy machine to log in with it
        given = by_token(
            secured_kafka,
            kafka_token_url=endpoint.url,
            kafka_token_ca=tmp_path / "ca.pem",
            kafka_token_client_id="root",
            kafka_token_client_secret=SECRET,
        )
        bus, spec = connect_bus(Settings(**given)), topic()
        bus.ensure_topics([spec])
        reader, read, began = bus.reader(spec.name), list[bytes | None](), time.monotonic()

        def both() -> None:
            bus.append(spec.name, b"key", b"value")
            read.extend(record.value for batch in reader.poll(0.1) for record in batch.records)

        until(lambda: read and endpoint.given > 2 and time.monotonic() - began > 2 * endpoint.lifetime_s, both)
        reader.close()
        bus.close()

        said = refusal({**given, "kafka_token_client_secret": "wrong"})
        assert f"token endpoint {endpoint.url}: no token for client 'root': HTTP 401" in said
        assert "invalid_client" in said
        assert "wrong" not in said


REFUSALS: dict[str, tuple[Callable[[SecuredBroker], Given], str]] = {
    "a wrong password": (
        lambda broker: broker.settings("root", kafka_password="wrong-one"),
        "authentication failed: user 'root', mechanism SCRAM-SHA-512",
    ),
    "an unknown user": (
        lambda broker: broker.settings("ghost"),
        "authentication failed: user 'ghost', mechanism SCRAM-SHA-512",
    ),
    "a mechanism that is not enabled": (
        lambda broker: broker.settings(
            "root",
            bus=f"kafka://{broker.at('SASL_PLAINTEXT')}",
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_tls_ca=None,
            kafka_sasl_mechanism="PLAIN",
        ),
        "mechanism PLAIN is not enabled there: expected one of SCRAM-SHA-512",
    ),
    "a certificate of a CA that is not trusted": (
        lambda broker: broker.settings("root", kafka_tls_ca=None),
        "not signed by a CA that is trusted here: name the right one in NEARLINE_KAFKA_TLS_CA",
    ),
    "a certificate for another host": (
        lambda broker: broker.settings("root", bus=f"kafka://{broker.at('SASL_SSL', '127.0.0.1')}"),
        "its certificate is for another address",
    ),
    "an expired certificate": (lambda broker: over_tls(broker, "EXPIRED"), "its certificate has expired"),
    "no client certificate": (lambda broker: over_tls(broker, "SSL"), "refuses the certificate of this client"),
    "plain text to a port of TLS": (
        lambda broker: {"bus": f"kafka://{broker.at('SASL_SSL')}"},
        "it speaks TLS there: set NEARLINE_KAFKA_SECURITY_PROTOCOL",
    ),
    "no login where one is wanted": (
        lambda broker: {"bus": f"kafka://{broker.at('SASL_PLAINTEXT')}"},
        "it wants a login there (SCRAM-SHA-512)",
    ),
    "no login over TLS where one is wanted": (lambda broker: over_tls(broker, "SASL_SSL"), "it wants a login there"),
    "TLS to a port of plain text": (
        lambda broker: {**over_tls(broker, "SSL"), "bus": f"kafka://{broker.address}"},
        "TLS failed",
    ),
    "a login where none is wanted": (
        lambda broker: {
            "bus": f"kafka://{broker.address}",
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_user": "root",
            "kafka_password": "x",
        },
        "it wants no login there",
    ),
}


@pytest.mark.parametrize(("given", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_it_is(
    secured_kafka: SecuredBroker, given: Callable[[SecuredBroker], Given], expected: str
) -> None:
    said = refusal(given(secured_kafka))
    assert expected in said
    assert "wrong-one" not in said


def test_who_has_no_right_is_told_which_one(secured_kafka: SecuredBroker) -> None:
    said = refusal(secured_kafka.settings("nobody"))
    assert "user 'nobody', mechanism SCRAM-SHA-512, needs Describe on topic topic; `nearline acls` prints" in said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"kafka_user": "ann"},
            "SECURITY_PROTOCOL: expected SASL_SSL .* as NEARLINE_KAFKA_USER is given, got PLAINTEXT",
        ),
        ({"kafka_tls_ca": "ca.pem"}, "SECURITY_PROTOCOL: expected SSL or SASL_SSL, as NEARLINE_KAFKA_TLS_CA is given"),
        ({"kafka_security_protocol": "SASL_SSL"}, "NEARLINE_KAFKA_USER: expected a user, for SCRAM-SHA-512, got none"),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_user": "ann"},
            "NEARLINE_KAFKA_PASSWORD: expected it or NEARLINE_KAFKA_PASSWORD_FILE, for SCRAM-SHA-512, got none",
        ),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"},
            "NEARLINE_KAFKA_TOKEN_URL: expected one of .*, got none",
        ),
        (
            {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_sasl_mechanism": "OAUTHBEARER",
                "kafka_token_url": "http://far.example/token",
                "kafka_token_client_id": "c",
                "kafka_token_client_secret": "s",
            },
            "NEARLINE_KAFKA_TOKEN_URL: expected https://",
        ),
        ({"kafka_security_protocol": "SSL", "kafka_tls_key": "k"}, "TLS_CERTIFICATE: expected the certificate of the"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_connects(given: Given, expected: str) -> None:
    with pytest.raises(InvalidRequestError, match=expected):
        connect_bus(Settings(bus="kafka://192.0.2.1:9092", **given))


@pytest.mark.parametrize("variable", ["kafka_tls_ca", "kafka_tls_certificate"])
def test_a_file_that_is_none_is_named(secured_kafka: SecuredBroker, tmp_path: Path, variable: str) -> None:
    bus = connect_bus(Settings(**{**over_tls(secured_kafka, "SSL"), variable: tmp_path / "none.pem"}))
    with pytest.raises(InvalidRequestError, match=f"NEARLINE_{variable.upper()}: expected a PEM file.*none.pem"):
        bus.partitions("topic")


def test_a_token_is_kept_renewed_before_it_expires_and_used_while_the_endpoint_is_away() -> None:
    now = [0.0]
    with TokenEndpoint(Issuer(), "client", SECRET).served() as endpoint:
        endpoint.lifetime_s = 100.0
        tokens = ClientCredentials(endpoint.url, "client", lambda: SECRET, clock=lambda: now[0])
        first = tokens.token()
        now[0] = 79.0
        assert tokens.token() == first
        now[0] = 81.0
        assert endpoint.given == 1
        second = tokens.token()
        assert (endpoint.given, second != first) == (2, True)
        endpoint.broken = True
        now[0] = 81.0 + 99.0
        assert tokens.token() == second
        now[0] = 81.0 + 101.0
        with pytest.raises(BusUnavailableError, match="HTTP 503"):
            tokens.token()


def test_every_topic_of_an_installation_can_be_made_over_tls_with_a_login(secured_kafka: SecuredBroker) -> None:
    topics = Topics(f"{topic().name}.")
    bus = connect_bus(Settings(**secured_kafka.settings("root")))
    bus.ensure_topics(topics.all())
    assert [bus.partitions(spec.name) for spec in topics.all()] == [1, 1, 8, 8, 1]
    bus.close()
