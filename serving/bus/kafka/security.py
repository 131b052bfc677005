"""How this process speaks with the brokers and who it is to them: from settings to kafka-python's options.

Files are read anew for each client that is made, certificates even for each connection, so that they can be replaced
while a node runs.
"""

import ssl
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from serving.bus.kafka.tokens import ClientCredentials, FileToken, TokenProvider
from serving.errors import InvalidRequestError
from serving.settings import Settings


class Security:
    """Refuses settings that contradict each other with InvalidRequestError; reads no file until it is asked to.

    `who`: this client, in words for an error.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.protocol: str = settings.kafka_security_protocol
        self.encrypted = self.protocol in {"SSL", "SASL_SSL"}
        self.logs_in = self.protocol.startswith("SASL_")
        self.mechanism: str = settings.kafka_sasl_mechanism if self.logs_in else ""
        self._tokens: TokenProvider | None = None
        _check_protocol(settings, encrypted=self.encrypted, logs_in=self.logs_in)
        if self.mechanism == "OAUTHBEARER":
            self._tokens = _tokens(settings)
        elif self.logs_in:
            _check_user(settings)

    @property
    def who(self) -> str:
        """Say it with the mechanism of the login, without secrets."""
        if self._tokens is not None:
            return f"{self._tokens.who}, mechanism {self.mechanism}"
        if self.logs_in:
            return f"user {self._settings.kafka_user!r}, mechanism {self.mechanism}"
        if self._settings.kafka_tls_certificate is not None:
            return f"the certificate {self._settings.kafka_tls_certificate}"
        return "a client without a login"

    def options(self) -> dict[str, Any]:
        """Return kafka-python's options; InvalidRequestError for a file that cannot be used."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.encrypted:
            self.context()  # says what is wrong with a file; kafka-python reads them for each connection
            key_password = self._settings.kafka_tls_key_password
            options |= {
                "ssl_cafile": _text(self._settings.kafka_tls_ca),
                "ssl_certfile": _text(self._settings.kafka_tls_certificate),
                "ssl_keyfile": _text(self._settings.kafka_tls_key),
                "ssl_password": key_password.get_secret_value() if key_password else None,
            }
        if self._tokens is not None:
            options |= {"sasl_mechanism": self.mechanism, "sasl_oauth_token_provider": self._tokens}
        elif self.logs_in:
            given, file = self._settings.kafka_password, self._settings.kafka_password_file
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self._settings.kafka_user,
                "sasl_plain_password": secret_of(given, file, "NEARLINE_KAFKA_PASSWORD_FILE"),
            }
        return options

    def context(self) -> ssl.SSLContext:
        """Make what a connection is encrypted with, as kafka-python does; InvalidRequestError names a bad file."""
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.kafka_tls_ca is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(settings.kafka_tls_ca)
            except OSError as error:
                raise _bad_file("CA", "certificates of CAs", settings.kafka_tls_ca, error) from error
        if settings.kafka_tls_certificate is not None:
            password = settings.kafka_tls_key_password
            try:
                context.load_cert_chain(
                    settings.kafka_tls_certificate,
                    settings.kafka_tls_key,
                    # Without one, OpenSSL would ask at the terminal.
                    password.get_secret_value() if password else lambda: "",
                )
            except OSError as error:
                files = " and ".join(str(f) for f in (settings.kafka_tls_certificate, settings.kafka_tls_key) if f)
                raise _bad_file("CERTIFICATE", "a certificate and its key", files, error) from error
        return context

    def prepare(self) -> None:
        """Have what a login needs, so that its own error is seen; BusUnavailableError when a token cannot be had."""
        if self._tokens is not None:
            self._tokens.token()


def secret_of(given: SecretStr | None, file: Path | None, variable: str) -> str:
    """Return a secret that was given, or the first line of its file; InvalidRequestError names the variable."""
    if given is not None:
        return given.get_secret_value()
    try:
        text = (file or Path()).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InvalidRequestError(variable, "a file that can be read", f"{file} ({why})") from error
    if not text:
        raise InvalidRequestError(variable, "a file with a secret in it", f"{file}, which is empty")
    return text


def _check_protocol(settings: Settings, *, encrypted: bool, logs_in: bool) -> None:
    """What was given for a purpose must not be ignored without a word."""
    login = ("user", "password", "password_file", "token_file", "token_url", "token_client_id", "token_client_secret")
    tls = ("tls_ca", "tls_certificate", "tls_key")
    for names, used, expected in (
        (login, logs_in, "SASL_SSL (or SASL_PLAINTEXT)"),
        (tls, encrypted, "SSL or SASL_SSL"),
    ):
        idle = next((name for name in names if getattr(settings, f"kafka_{name}")), None)
        if idle is not None and not used:
            raise InvalidRequestError(
                "NEARLINE_KAFKA_SECURITY_PROTOCOL",
                f"{expected}, as NEARLINE_KAFKA_{idle.upper()} is given",
                settings.kafka_security_protocol,
            )
    if settings.kafka_tls_key is not None and settings.kafka_tls_certificate is None:
        raise InvalidRequestError("NEARLINE_KAFKA_TLS_CERTIFICATE", "the certificate of the key", "none")


def _check_user(settings: Settings) -> None:
    mechanism = settings.kafka_sasl_mechanism
    if not settings.kafka_user:
        raise InvalidRequestError("NEARLINE_KAFKA_USER", f"a user, for {mechanism}", "none")
    _check_one("NEARLINE_KAFKA_PASSWORD", settings.kafka_password, settings.kafka_password_file, mechanism)


def _tokens(settings: Settings) -> TokenProvider:
    file, url = settings.kafka_token_file, settings.kafka_token_url
    if (file is None) == (not url):
        expected = "one of NEARLINE_KAFKA_TOKEN_URL and NEARLINE_KAFKA_TOKEN_FILE, for OAUTHBEARER"
        raise InvalidRequestError("NEARLINE_KAFKA_TOKEN_URL", expected, "none" if file is None else "both")
    if file is not None:
        return FileToken(lambda: secret_of(None, file, "NEARLINE_KAFKA_TOKEN_FILE"), file)
    if not settings.kafka_token_client_id:
        raise InvalidRequestError("NEARLINE_KAFKA_TOKEN_CLIENT_ID", "a client to ask for tokens as", "none")
    given, secret_file = settings.kafka_token_client_secret, settings.kafka_token_client_secret_file
    _check_one("NEARLINE_KAFKA_TOKEN_CLIENT_SECRET", given, secret_file, "the token endpoint")
    return ClientCredentials(
        url,
        settings.kafka_token_client_id,
        lambda: secret_of(given, secret_file, "NEARLINE_KAFKA_TOKEN_CLIENT_SECRET_FILE"),
        scope=settings.kafka_token_scope,
        ca=settings.kafka_token_ca,
    )


def _check_one(variable: str, given: SecretStr | None, file: Path | None, purpose: str) -> None:
    if (given is None) == (file is None):
        raise InvalidRequestError(variable, f"it or {variable}_FILE, for {purpose}", "none" if file is None else "both")


def _bad_file(name: str, what: str, path: object, error: OSError) -> InvalidRequestError:
    why = "not PEM, or the wrong password" if isinstance(error, ssl.SSLError) else error.strerror
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        why = "the key is another certificate's"
    return InvalidRequestError(f"NEARLINE_KAFKA_TLS_{name}", f"a PEM file with {what}", f"{path} ({why})")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
