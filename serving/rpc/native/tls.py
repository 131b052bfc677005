"""TLS: the files, and noticing that they changed."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from serving.errors import UserError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `client_ca`, clients must show a certificate of it (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)

    def context(self) -> ssl.SSLContext:
        """Read them; UserError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # RFC 9113 §9.2.2 prohibits the other suites of TLS 1.2; §9.2.1 renegotiation and compression.
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["h2"])
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            names = ", ".join(str(path) for path in self.paths)
            raise UserError(
                f"TLS: expected a certificate, its key and perhaps a CA, as PEM, in {names}: {error}"
            ) from error
        return context


class Watched:
    """Files, and what they were like when they were last looked at."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether they are other than at the last call."""
        now = self._look()
        changed, self._seen = now != self._seen, now
        return changed

    def _look(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                found.append(None)
        return found
