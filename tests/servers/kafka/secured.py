"""A Kafka broker with TLS, logins and ACLs, on listeners of each kind; who has no right can do nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization

from tests.servers.kafka.broker import KafkaBroker
from tests.servers.kafka.tokens import AUDIENCE, Issuer
from tests.servers.ports import free_port

USERS = ("root", "publisher", "node", "producer", "operator", "reader", "nobody")
"""Each with the password `<name>-secret`. `root` may do everything."""
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER")
_LOG4J = Path(__file__).with_name("log4j2-audit.yaml")
_MODULES = "org.apache.kafka.common.security"
_VALIDATOR = f"{_MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler"
_AUDITED = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<verdict>\w+) operation = (?P<operation>\w+) .* "
    r"on resource = (?P<kind>\w+):(?P<pattern>\w+):(?P<name>\S+) for request = (?P<request>\w+)"
)


def password(user: str) -> str:
    """The one that a user has."""
    return f"{user}-secret"


@dataclass(frozen=True)
class Decision:
    """What the authorizer said: operation in capitals, kind `Topic`, `Group` or `Cluster`."""

    user: str
    allowed: bool
    operation: str
    kind: str
    name: str
    request: str


class SecuredBroker(KafkaBroker):
    """`address` is the operator's: plain text, no login, every right. `at` are the listeners for everybody else.

    Its certificate is for `localhost` only.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        self.ca = trustme.CA()
        self.issuer = Issuer()
        names = ("SASL_SSL", "SSL", "SASL_PLAINTEXT", "EXPIRED")
        self.ports = {name: free_port() for name in names}
        super().__init__(path=path)

    def at(self, listener: str, host: str = "localhost") -> str:
        """host:port of SASL_SSL, SSL (asks for a certificate), SASL_PLAINTEXT or EXPIRED (SSL, expired certificate)."""
        return f"{host}:{self.ports[listener]}"

    @cached_property
    def ca_file(self) -> Path:
        """PEM file of the CA of everybody's certificates."""
        file = self.path / "ca.pem"
        self.ca.cert_pem.write_to_path(str(file))
        return file

    def client_certificate(self, name: str) -> Path:
        """PEM file of a client's certificate and key; its principal is User:<name>."""
        return self._certificate(name, name, datetime.now(UTC) + timedelta(days=1), common_name=name)

    def settings(self, user: str, **more: Any) -> dict[str, Any]:
        """Settings of nearline for a user over SASL_SSL, SCRAM-SHA-512."""
        return {
            "bus": f"kafka://{self.at('SASL_SSL')}",
            "kafka_security_protocol": "SASL_SSL",
            "kafka_tls_ca": str(self.ca_file),
            "kafka_user": user,
            "kafka_password": password(user),
            **more,
        }

    def audit(self) -> Iterator[Decision]:
        """Everything that was asked of the authorizer, but by those that may do everything."""
        for line in self.log.read_text(errors="replace").splitlines():
            found = _AUDITED.search(line)
            if found is not None and found["user"] not in {"ANONYMOUS", "root"}:
                yield Decision(
                    found["user"],
                    found["verdict"] == "Allowed",
                    found["operation"],
                    found["kind"].capitalize(),
                    found["name"],
                    found["request"],
                )

    def _certificate(self, file: str, host: str, until: datetime, common_name: str | None = None) -> Path:
        issued = self.ca.issue_cert(host, not_after=until, common_name=common_name)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(  # Kafka reads no other form
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.path / f"{file}.pem"
        path.write_bytes(pem + b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return path

    def _java_options(self) -> list[str]:
        jwks = (self.path / "jwks.json").as_uri()
        return [f"-Dlog4j2.configurationFile={_LOG4J}", f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"]

    def _format_options(self) -> list[str]:
        return [
            part
            for user in USERS
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
            for part in ("--add-scram", f"{mechanism}=[name={user},password={password(user)}]")
        ]

    def _settings(self) -> dict[str, object]:
        jwks = self.path / "jwks.json"
        jwks.write_text(self.issuer.jwks())
        now = datetime.now(UTC)
        keystore = self._certificate("broker", "localhost", now + timedelta(days=1))
        expired = self._certificate("expired", "localhost", now - timedelta(days=1))
        plain = " ".join(f'user_{user}="{password(user)}"' for user in USERS)
        settings = super()._settings()
        for name in ("listeners", "advertised.listeners"):
            settings[name] = ",".join([str(settings[name]), *(f"{n}://localhost:{p}" for n, p in self.ports.items())])
        settings["listener.security.protocol.map"] = (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,EXPIRED:SSL"
        )
        settings |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:root;User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca_file,
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "listener.name.expired.ssl.keystore.type": "PEM",
            "listener.name.expired.ssl.keystore.location": expired,
        }
        modules = {
            "SCRAM-SHA-512": f"{_MODULES}.scram.ScramLoginModule required;",
            "SCRAM-SHA-256": f"{_MODULES}.scram.ScramLoginModule required;",
            "PLAIN": f"{_MODULES}.plain.PlainLoginModule required {plain};",
            "OAUTHBEARER": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
        }
        for listener, mechanisms in (("sasl_ssl", MECHANISMS), ("sasl_plaintext", MECHANISMS[:1])):
            prefix = f"listener.name.{listener}."
            settings[f"{prefix}sasl.enabled.mechanisms"] = ",".join(mechanisms)
            for mechanism in mechanisms:
                settings[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = modules[mechanism]
        oauth = "listener.name.sasl_ssl.oauthbearer.sasl."
        return settings | {
            f"{oauth}server.callback.handler.class": _VALIDATOR,
            f"{oauth}oauthbearer.jwks.endpoint.url": jwks.as_uri(),
            f"{oauth}oauthbearer.expected.audience": AUDIENCE,
        }
