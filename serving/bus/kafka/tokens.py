"""Tokens for a login by OAUTHBEARER (RFC 7628): from a file, or from a token endpoint (RFC 6749, client credentials).

kafka-python asks for a token at each login, and again before the broker's session ends, on its I/O thread: so a token
is kept, renewed well before it expires, and an endpoint that is slow is not waited for while the old one still holds.
"""

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from kafka.net.sasl.oauth import AbstractTokenProvider

from serving.errors import BusUnavailableError, InvalidRequestError

_ANSWER_S = 3.0
"""Shorter than a group's session, since nothing else happens on the thread meanwhile."""
_RENEW_AT = 0.8
_RETRY_S = 10.0
_LIFETIME_S = 300.0
"""Of a token whose endpoint does not say."""
_MOST_BYTES = 1 << 20
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class TokenProvider(Protocol):
    """`who`: whose token it is, in words for an error."""

    who: str

    def token(self) -> str:
        """Return a token that holds; BusUnavailableError or InvalidRequestError when there is none."""
        ...


class FileToken(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """What is in a file just now."""

    def __init__(self, read: Callable[[], str], path: Path) -> None:
        self._read = read
        self.who = f"the token in {path}"

    def token(self) -> str:
        """Read it."""
        return self._read()


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # as above
    """Asks a token endpoint. Thread-safe: the clients of a bus share one."""

    def __init__(
        self,
        url: str,
        client: str,
        secret: Callable[[], str],
        *,
        scope: str = "",
        ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
            expected = "https://… (http:// on this machine only: the secret is sent there)"
            raise InvalidRequestError("NEARLINE_KAFKA_TOKEN_URL", expected, repr(url))
        self.who = f"client {client!r} of {parts.hostname}"
        self._url = url
        self._client = client
        self._secret = secret
        self._scope = scope
        self._ca = ca
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = self._expires_at = float("-inf")

    def token(self) -> str:
        """Return the one that is kept, or a new one."""
        with self._lock:
            if self._clock() >= self._renew_at:
                try:
                    self._fetch()
                except BusUnavailableError:
                    if self._clock() >= self._expires_at:
                        raise
                    self._renew_at = min(self._clock() + _RETRY_S, self._expires_at)
            return self._token

    def _fetch(self) -> None:
        asked_at = self._clock()
        answer = self._ask()
        token, lifetime_s = answer.get("access_token"), answer.get("expires_in", _LIFETIME_S)
        if not isinstance(token, str) or not token.isprintable() or not token:
            raise self._unusable("expected an access_token, got none")
        try:
            lifetime_s = float(lifetime_s)
        except (TypeError, ValueError):
            raise self._unusable(f"expires_in: expected seconds, got {lifetime_s!r:.50}") from None
        self._token = token
        self._renew_at, self._expires_at = asked_at + _RENEW_AT * lifetime_s, asked_at + lifetime_s

    def _ask(self) -> dict[str, Any]:
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        quoted = (urllib.parse.quote(text, safe="") for text in (self._client, self._secret()))  # RFC 6749, 2.3.1
        login = base64.b64encode(":".join(quoted).encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._url,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Basic {login}", "Accept": "application/json"},
        )
        try:
            handlers = [urllib.request.HTTPSHandler(context=self._context()), _NoRedirects()]
            with urllib.request.build_opener(*handlers).open(request, timeout=_ANSWER_S) as response:
                answer = json.loads(response.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._unusable(f"HTTP {error.code} {error.reason}{_reason(error)}") from error
        except (OSError, ValueError) as error:
            raise self._unusable(str(getattr(error, "reason", error))) from error
        if not isinstance(answer, dict):
            raise self._unusable("expected a JSON object, got something else")
        return answer

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise InvalidRequestError("NEARLINE_KAFKA_TOKEN_CA", "a PEM file", f"{self._ca} ({error})") from error

    def _unusable(self, why: str) -> BusUnavailableError:
        return BusUnavailableError(f"token endpoint {self._url}: no token for client {self._client!r}: {why}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The secret goes to the configured place and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Leave it at the answer, which is an error then."""
        return


def _reason(error: urllib.error.HTTPError) -> str:
    """What an endpoint says in the manner of RFC 6749, 5.2; nothing of what else it may say."""
    try:
        said = json.loads(error.read(_MOST_BYTES))
        return f" ({said['error']!r:.100})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
