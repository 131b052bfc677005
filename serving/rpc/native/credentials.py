"""What connections are accepted with: a certificate, and rules of who may call what; read anew when they change."""

import ssl
from pathlib import Path

from serving.errors import NearlineError
from serving.rpc.native.access import Access
from serving.rpc.native.tls import TlsFiles, Watched


class Credentials:
    """From files. `access`: None = everybody may call everything. `context`: None = without TLS."""

    def __init__(self, tls: TlsFiles | None, access: Path | None) -> None:
        self.access: Access | None = None
        self.context: ssl.SSLContext | None = None
        self.renewed = False
        """Whether they were read anew, and not `taken_over`."""
        self._tls = tls
        self._access_file = access
        callers = [path for path in (access, tls and tls.client_ca) if path]
        self._files = Watched(*(tls.paths if tls else ()), *callers)
        self._callers = Watched(*callers)
        self._others = False
        """Whether other callers are to be let in than those by whose rules connections were made."""

    def read(self) -> None:
        """Read all files; NearlineError, and then what was read before stays."""
        access = _access(self._access_file) if self._access_file is not None else None
        context = self._tls.context() if self._tls is not None else None
        self.access, self.context = access, context

    def look(self) -> None:
        """Read the files if they have changed; NearlineError as in `read`."""
        self._others |= self._callers.changed()
        if self._files.changed():
            self.read()
            self.renewed = True

    def taken_over(self) -> bool:
        """New connections go by them from now on; tell whether connections of before must not stay."""
        others, self.renewed, self._others = self._others, False, False
        return others


def _access(path: Path) -> Access:
    try:
        return Access.of_file(path)
    except OSError as error:
        raise NearlineError(f"access file: expected one that can be read, got {path}: {error}") from error
