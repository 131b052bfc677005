"""A certificate of the benchmark's own, for both servers, and what clients need to believe it."""

import ssl
from pathlib import Path

import grpc
import trustme


class Certificates:
    """Of 127.0.0.1, as PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        issued = self._authority.issue_cert("127.0.0.1")
        self.files = folder / "certificate.pem", folder / "key.pem"
        """The certificate and its key."""
        self.files[0].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.files[1])

    def settings(self) -> dict[str, str]:
        """Return what a node is told."""
        return {"tls_certificate": str(self.files[0]), "tls_key": str(self.files[1])}

    def client(self) -> ssl.SSLContext:
        """Return what a socket of a client needs."""
        context = ssl.create_default_context(cadata=self._authority.cert_pem.bytes().decode())
        context.set_alpn_protocols(["h2"])
        return context

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the same for grpcio."""
        return grpc.ssl_channel_credentials(self._authority.cert_pem.bytes())
