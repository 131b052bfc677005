"""Finds out why a client cannot connect: kafka-python tries again until its time is over, and only says so then.

One connection, in steps: an address that listens, TLS, the login; each step knows its own reasons.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import errors as kafka_errors
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from serving.bus.kafka.errors import unavailable
from serving.bus.kafka.security import Security
from serving.errors import BusUnavailableError

_LISTEN_S = 2.0
_SHAKE_S = 3.0
_LOGIN_S = 4.0
_GUESS_S = 1.0
_PROTOCOL = "NEARLINE_KAFKA_SECURITY_PROTOCOL"
_CERTIFICATES = {
    10: "its certificate has expired: renew it on the broker",
    9: "its certificate is not valid yet: look at the clocks",
    62: "its certificate is for another name: use one that it names in the address (and in advertised.listeners)",
    64: "its certificate is for another address: use a name that it has (and in advertised.listeners)",
}
"""By OpenSSL's number (X509_V_ERR_…). Of all others the CA is not one that we trust."""
_OTHER_CA = "its certificate is not signed by a CA that is trusted here: name the right one in NEARLINE_KAFKA_TLS_CA"


def look(servers: Sequence[str], security: Security, common: Mapping[str, Any]) -> None:
    """BusUnavailableError with the reason, unless a connection to one of the servers can be made and logged in."""
    server = _listening(servers, security)
    if security.logs_in or security.encrypted:
        security.prepare()
        error = _attempt(server, {**common, **security.options()}, _LOGIN_S)
        if error is not None:
            raise unavailable([server], _refused(error, security)) from error


def guess(servers: Sequence[str], security: Security, common: Mapping[str, Any]) -> str:
    """Tell why a server that listens did not answer a client that speaks plain text; empty: who knows."""
    if security.encrypted:
        return ""
    for server in servers[:2]:  # somebody waits
        if _speaks_tls(server):
            return f"it speaks TLS there: set {_PROTOCOL} to SSL, or to SASL_SSL where it wants a login"
        if not security.logs_in:
            asking = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "none"}
            error = _attempt(server, {**common, **asking}, _GUESS_S)
            if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
                return f"it wants a login (SASL) there: set {_PROTOCOL} to SASL_PLAINTEXT, and NEARLINE_KAFKA_USER"
    return ""


def _listening(servers: Sequence[str], security: Security) -> str:
    reasons = []
    for server in servers:
        host, port = _address(server)
        try:
            connection = socket.create_connection((host, port), timeout=_LISTEN_S / len(servers))
        except OSError as error:
            reasons.append(f"{server}: {error}")
            continue
        with connection:
            if security.encrypted:
                _shake_hands(connection, server, security)
            return server
    raise unavailable(servers, f"no broker listens ({'; '.join(reasons)}); check the address and start Kafka")


def _shake_hands(connection: socket.socket, server: str, security: Security) -> None:
    context, (host, _) = security.context(), _address(server)
    connection.settimeout(_SHAKE_S)
    try:
        context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        what = _CERTIFICATES.get(error.verify_code, _OTHER_CA)
        raise unavailable([server], f"{what} ({error.verify_message})") from error
    except TimeoutError as error:
        raise unavailable([server], "no answer to the TLS handshake in time") from error
    except OSError as error:
        plain = f"TLS failed ({error.strerror or error}); if it speaks plain text there, {_PROTOCOL} has to say so"
        raise unavailable([server], plain) from error


def _attempt(server: str, options: Mapping[str, Any], seconds: float) -> Exception | None:
    """Connect and log in once; return what went wrong."""
    net = NetworkSelector()
    manager = KafkaConnectionManager(net, **{**options, "bootstrap_servers": [server]})

    async def connect() -> None:
        (broker,) = manager.cluster.bootstrap_brokers()
        await manager.get_connection(broker.node_id, timeout_ms=1000 * seconds)

    try:
        net.run(connect)
    except (kafka_errors.KafkaError, RuntimeError, OSError, ValueError, BusUnavailableError) as error:
        return error
    finally:
        manager.close()
        net.close()
    return None


def _refused(error: Exception, security: Security) -> str:
    if isinstance(error, BusUnavailableError):
        return str(error)
    if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
        return f"authentication failed: {security.who} ({error})"
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
        said = str(error).partition("mechanisms: ")[2] or str(error)
        return f"mechanism {security.mechanism} is not enabled there: expected one of {said}"
    if isinstance(error, kafka_errors.IllegalSaslStateError):
        return f"it wants no login there: set {_PROTOCOL} to {'SSL' if security.encrypted else 'PLAINTEXT'}"
    if "alert" in str(error) and security.encrypted:
        return f"it refuses the certificate of this client ({error}): see NEARLINE_KAFKA_TLS_CERTIFICATE"
    return f"no connection for {security.who} ({type(error).__name__}: {error})"


def _speaks_tls(server: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only to hear its language: nothing is sent
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(_address(server), timeout=_GUESS_S) as connection:
            context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return error.reason not in {"UNEXPECTED_EOF_WHILE_READING", "WRONG_VERSION_NUMBER", None}
    except OSError:
        return False
    return True


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
