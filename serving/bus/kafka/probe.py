"""Finds out why a client cannot connect: kafka-python tries again until its time is over, and only says so then.

One connection, in steps: an address that listens, TLS, the login; each step knows its own reasons.
"""

import socket
import ssl
from collections.abc import Sequence

from kafka import errors as kafka_errors

from serving.bus.kafka.errors import unavailable
from serving.bus.kafka.login import Conversation
from serving.bus.kafka.security import Security
from serving.errors import BusUnavailableError

_LISTEN_S = 2.0
_ANSWER_S = 4.0
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


def look(servers: Sequence[str], security: Security) -> None:
    """BusUnavailableError with the reason, unless a connection to one of the servers can be made and logged in."""
    server, connection = _connected(servers)
    with connection:
        if not (security.encrypted or security.logs_in):
            return
        security.prepare()
        options = security.options()
        connection.settimeout(_ANSWER_S)
        with _encrypted(connection, server, security) as channel:
            try:
                conversation = Conversation(channel)
                if security.logs_in:
                    conversation.log_in(options, _address(server)[0])
                else:
                    conversation.greet()
            except (kafka_errors.KafkaError, OSError, ValueError) as error:
                raise unavailable([server], _refused(error, security)) from error


def guess(servers: Sequence[str], security: Security) -> str:
    """Tell why a server that listens did not answer a client without a login; empty: who knows."""
    if security.logs_in:
        return ""
    for server in servers[:2]:  # somebody waits
        if not security.encrypted and _speaks_tls(server):
            return f"it speaks TLS there: set {_PROTOCOL} to SSL, or to SASL_SSL where it wants a login"
        mechanisms = _mechanisms(server, security)
        if mechanisms:
            expected = "SASL_SSL" if security.encrypted else "SASL_PLAINTEXT"
            return f"it wants a login there ({mechanisms}): set {_PROTOCOL} to {expected}, and NEARLINE_KAFKA_USER"
    return ""


def _connected(servers: Sequence[str]) -> tuple[str, socket.socket]:
    reasons = []
    for server in servers:
        try:
            return server, socket.create_connection(_address(server), timeout=_LISTEN_S / len(servers))
        except OSError as error:
            reasons.append(f"{server}: {error}")
    raise unavailable(servers, f"no broker listens ({'; '.join(reasons)}); check the address and start Kafka")


def _encrypted(connection: socket.socket, server: str, security: Security) -> socket.socket:
    if not security.encrypted:
        return connection
    try:
        return security.context().wrap_socket(connection, server_hostname=_address(server)[0])
    except ssl.SSLCertVerificationError as error:
        what = _CERTIFICATES.get(error.verify_code, _OTHER_CA)
        raise unavailable([server], f"{what} ({error.verify_message})") from error
    except TimeoutError as error:
        raise unavailable([server], "no answer to the TLS handshake in time") from error
    except OSError as error:
        plain = f"TLS failed ({error.strerror or error}); if it speaks plain text there, {_PROTOCOL} has to say so"
        raise unavailable([server], plain) from error


def _refused(error: Exception, security: Security) -> str:
    if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
        return f"authentication failed: {security.who} ({error.args[0]})"
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
        return f"mechanism {security.mechanism} is not enabled there: expected one of {error.args[0]}"
    if isinstance(error, kafka_errors.IllegalSaslStateError):
        return f"it wants no login there: set {_PROTOCOL} to {'SSL' if security.encrypted else 'PLAINTEXT'}"
    if isinstance(error, ssl.SSLError):
        return f"it refuses the certificate of this client ({error.reason}): see NEARLINE_KAFKA_TLS_CERTIFICATE"
    unencrypted = "" if security.encrypted else f"; if it speaks TLS there, {_PROTOCOL} has to say so"
    return f"no connection for {security.who} ({error}){unencrypted}"


def _mechanisms(server: str, security: Security) -> str:
    """What a listener that wants a login takes; empty for one that does not."""
    try:
        connection = socket.create_connection(_address(server), timeout=_GUESS_S)
        with connection, _encrypted(connection, server, security) as channel:
            Conversation(channel).choose("none")
    except kafka_errors.UnsupportedSaslMechanismError as error:
        return str(error.args[0])
    except (kafka_errors.KafkaError, BusUnavailableError, OSError, ValueError):
        return ""
    return ""


def _speaks_tls(server: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only to hear its language: nothing is sent
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(_address(server), timeout=_GUESS_S) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except OSError:
        return False


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
