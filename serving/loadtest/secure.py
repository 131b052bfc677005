"""TLS of a load: whom to trust, and who we are. Both for the load's own connections and for grpcio's."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from serving.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. ca: of whoever signed the server's certificate; None = those that the system trusts.

    certificate, key: ours, for servers that ask for one; both or none.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def check(self) -> None:
        """InvalidRequestError names the option whose file is missing or of another kind."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequestError("--tls-certificate, --tls-key", "both or none", "one of them")
        self.context()

    def context(self) -> ssl.SSLContext:
        """For asyncio; InvalidRequestError."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # of which SSLError is one
            raise InvalidRequestError("--tls-ca", "a PEM file of certificates", f"{self.ca}: {error}") from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except OSError as error:
                files = f"{self.certificate}, {self.key}: {error}"
                raise InvalidRequestError(
                    "--tls-certificate, --tls-key", "PEM files of a certificate and of its key", files
                ) from error
        context.set_alpn_protocols(["h2"])
        return context

    def channel(self, target: str) -> grpc.Channel:
        """For questions before the load; close it."""
        files = [None if file is None else file.read_bytes() for file in (self.ca, self.key, self.certificate)]
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(*files))


def open_channel(target: str, tls: Tls | None) -> grpc.Channel:
    """Return a channel of grpcio; close it."""
    return grpc.insecure_channel(target) if tls is None else tls.channel(target)
