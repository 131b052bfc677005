"""What the ledger says of a model, as the fold leaves it (protos/ledger.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from protos.digest import FileEntry

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Searchable:
    """What an announcement says of a version for people. `stale_after_s`: 0 = none said."""

    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    framework: str = ""
    stale_after_s: int = 0


@dataclass(frozen=True, slots=True)
class BundleSignature:
    """Where the file that signs a bundle is (folder, as a URL), and what it must be."""

    uri: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Announced:
    """A version that exists. `signature`: of its bundle; None when nobody signed it."""

    version: int
    digest: str
    uri: str
    files: tuple[FileEntry, ...]
    held: bool
    offset: int
    created_at_ms: int
    signature: BundleSignature | None = None
    about: Searchable = Searchable()


@dataclass(frozen=True, slots=True)
class Share:
    """Part of the entities, out of a million, that a version serves."""

    version: int
    weight_ppm: int


@dataclass(frozen=True, slots=True)
class Line:
    """Where (labels that must all match), and which versions."""

    scope: Mapping[str, str]
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class BulkLoad:
    """Predictions that were computed elsewhere, for a version: a file of the artifact store."""

    number: int
    version: int
    digest: str
    uri: str
    sha256: str
    size: int
    rows: int


@dataclass(slots=True)
class ModelRecord:
    """All that the ledger says of a model.

    `blocked`: items that must not be shown, and until when (milliseconds since the epoch; 0 = for ever). `shown`: the
    bulk load whose predictions are to be seen; 0 = none. `named`: versions that any rollout has named so far.
    """

    versions: dict[int, Announced] = field(default_factory=dict)
    epoch: int = 0
    lines: tuple[Line, ...] = ()
    named: set[int] = field(default_factory=set)
    retired: set[int] = field(default_factory=set)
    retrials: dict[int, int] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    blocked_epoch: int = 0
    loads: dict[int, BulkLoad] = field(default_factory=dict)
    shown_epoch: int = 0
    shown: int = 0

    def snapshot(self) -> "ModelRecord":
        """Return a copy that later records do not change."""
        return replace(
            self,
            versions=dict(self.versions),
            named=set(self.named),
            retired=set(self.retired),
            retrials=dict(self.retrials),
            blocked=dict(self.blocked),
            loads=dict(self.loads),
        )
