"""One login over a socket, step by step, so that a broker's refusal is seen.

kafka-python 3.0.12 drops what it has read when the connection is closed right behind it, which is just what a broker
does with an answer that refuses a login. The messages and mechanisms are the library's.
"""

import socket
from collections.abc import Mapping
from typing import Any

from kafka import errors as kafka_errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

_CHUNK = 4096


class Conversation:
    """Requests and answers, one at a time. KafkaConnectionError when the broker ends it, OSError as the socket's."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._protocol = KafkaProtocol()

    def greet(self) -> None:
        """Exchange a first request, which any broker answers on a listener without a login."""
        self._ask(ApiVersionsRequest[0]())

    def choose(self, mechanism: str) -> None:
        """Name the mechanism; UnsupportedSaslMechanismError lists those that there are."""
        answer = self._ask(SaslHandshakeRequest[1](mechanism=mechanism))
        refused = kafka_errors.for_code(answer.error_code)
        if refused is not kafka_errors.NoError:
            raise refused(", ".join(answer.mechanisms))

    def log_in(self, options: Mapping[str, Any], host: str) -> None:
        """Log in with kafka-python's options; SaslAuthenticationFailedError has the broker's words."""
        self.choose(options["sasl_mechanism"])
        mechanism = get_sasl_mechanism(options["sasl_mechanism"])(host=host, **options)
        while not mechanism.is_done():
            answer = self._ask(SaslAuthenticateRequest[1](auth_bytes=mechanism.auth_bytes()))
            refused = kafka_errors.for_code(answer.error_code)
            if refused is not kafka_errors.NoError:
                raise kafka_errors.SaslAuthenticationFailedError(answer.error_message or refused.__name__)
            mechanism.receive(answer.auth_bytes)

    def _ask(self, request: Any) -> Any:
        self._protocol.send_request(request)
        self._connection.sendall(self._protocol.send_bytes())
        while True:
            data = self._connection.recv(_CHUNK)
            if not data:
                raise kafka_errors.KafkaConnectionError("the broker ended the connection")
            for _, answer in self._protocol.receive_bytes(data):
                return answer
