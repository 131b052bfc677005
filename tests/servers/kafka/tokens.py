"""An issuer of tokens for OAUTHBEARER, and its token endpoint."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "kafka"


class Issuer:
    """Signs JSON web tokens with a key of its own (RS256)."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)

    def jwks(self) -> str:
        """Its public key, for who checks tokens."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": _number(numbers.n), "e": _number(numbers.e)}
        return json.dumps({"keys": [key]})

    def token(self, subject: str, lifetime_s: float = 3600) -> str:
        """A token for a principal."""
        now = time.time()
        claims = {"sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + lifetime_s, "scope": "kafka"}
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': '1'})}.{_part(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_url64(signature)}"


class TokenEndpoint:
    """Client credentials for one client; counts what it gave. `lifetime_s` of tokens, `broken`: answers an error."""

    def __init__(self, issuer: Issuer, client: str, secret: str) -> None:
        self.issuer = issuer
        self.client = client
        self.secret = secret
        self.lifetime_s = 3600.0
        self.broken = False
        self.given = 0
        self.url = ""

    def answer(self, login: str, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Judge a request."""
        if self.broken:
            return 503, {}
        if login != f"{self.client}:{self.secret}":
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "unsupported_grant_type"}
        self.given += 1
        token = self.issuer.token(self.client, self.lifetime_s)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s}

    @contextmanager
    def served(self, context: ssl.SSLContext | None = None) -> Iterator["TokenEndpoint"]:
        """Listen on a free port, with TLS if there is a context."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                status, said = endpoint.answer(unquote(login), form)
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            if context is not None:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            host, scheme = ("localhost", "https") if context is not None else ("127.0.0.1", "http")
            self.url = f"{scheme}://{host}:{server.server_port}/token"
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            yield self
            server.shutdown()
            thread.join()


def _part(values: dict[str, Any]) -> str:
    return _url64(json.dumps(values).encode())


def _number(value: int) -> str:
    return _url64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
