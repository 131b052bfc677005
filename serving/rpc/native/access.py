"""Who may call what: bearer tokens, and the names in clients' certificates.

A file names them, a line each: `GROUPS token SECRET` or `GROUPS certificate NAME`, groups being `data`, `admin`, or
`data,admin`. Without a file, everybody may call everything. It is read anew when it changes, and a wrong one is
reported and changes nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from serving.errors import InvalidRequestError
from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.hpack import Field
from serving.rpc.method import Group

_BEARER = b"bearer "
_PARTS = 3


class Access:
    """The rules of one file. Tokens are kept as digests, so that comparing them tells nothing by its time."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._tokens: dict[bytes, frozenset[Group]] = {}
        self._names: dict[str, frozenset[Group]] = {}
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                self._read(number, line.split(maxsplit=2))

    @classmethod
    def of_file(cls, path: Path) -> "Access":
        """Read the rules; InvalidRequestError, OSError."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def check(self, group: Group, fields: Sequence[Field], names: frozenset[str]) -> None:
        """StatusError unless a token among the fields, or a name of the client's certificate, allows the group."""
        if group is Group.OPEN:
            return
        tokens = [v[len(_BEARER) :] for n, v, _ in fields if n == b"authorization" and v[:7].lower() == _BEARER]
        allowed = [self._tokens.get(_digest(token)) for token in tokens] + [self._names.get(name) for name in names]
        known = [groups for groups in allowed if groups is not None]
        if not known:
            raise StatusError(Code.UNAUTHENTICATED, "expected a bearer token, or a client certificate, that is known")
        if not any(group in groups for groups in known):
            raise StatusError(Code.PERMISSION_DENIED, f"expected somebody who may call {group.value} methods")

    def _read(self, number: int, parts: list[str]) -> None:
        where = f"access file, line {number}"
        if len(parts) != _PARTS or parts[1] not in {"token", "certificate"}:
            raise InvalidRequestError(where, "GROUPS token|certificate VALUE", "another form")
        try:
            groups = frozenset(Group(name) for name in parts[0].split(","))
        except ValueError as error:
            raise InvalidRequestError(where, "groups `data`, `admin` or `data,admin`", repr(parts[0])) from error
        value = parts[2].strip()
        if parts[1] == "token":
            self._tokens[_digest(value.encode())] = groups
        else:
            self._names[value] = groups


def names_of(certificate: dict[str, Any] | None) -> frozenset[str]:
    """Return the common name, the DNS names and the URIs of a peer's verified certificate."""
    if not certificate:
        return frozenset()
    names = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    names |= {value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"}}
    return frozenset(names)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
