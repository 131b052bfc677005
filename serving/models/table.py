"""What serves just now: readers look without a lock, the deployer swaps by one reference assignment."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from protos.records import BulkLoad, Share
from protos.traffic import ranges, version_for
from serving.errors import NotFoundError, UnavailableError
from serving.models.blocking import Blocked
from serving.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """What the ledger says of a model beside its versions.

    blocked: items that must not be shown, and until when. loads: predictions that were computed elsewhere. shown: the
    number of the load that is to be seen.
    """

    blocked: Mapping[str, int] = field(default_factory=dict)
    loads: Mapping[int, BulkLoad] = field(default_factory=dict)
    shown: int = 0


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """The shares of a model, and the versions behind them. No shares: known, but nothing of it is ready.

    `shares`: what `ModelInfer` gets. `recommend`: what `Recommend` gets, which stays with the former versions until the
    predictions of the new ones are there. `elsewhere`: what nodes with other labels serve from the same store, which
    only near-line workers need. `bulk`: the load whose predictions are seen; it stays until all of the next is there.
    `blocked`: of the ledger, prepared.
    """

    name: str
    shares: tuple[Share, ...]
    recommend: tuple[Share, ...]
    versions: Mapping[int, LoadedModel]
    elsewhere: tuple[tuple[Share, ...], ...] = ()
    ledger: LedgerSide = field(default_factory=LedgerSide)
    bulk: BulkLoad | None = None
    blocked: Blocked = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocked", Blocked.of(self.ledger.blocked))

    @property
    def main(self) -> int:
        """The version with the largest share, which answers where no entity is named."""
        if len(self.shares) == 1:
            return self.shares[0].version
        return max(self.shares, key=lambda share: share.weight_ppm).version

    def claims(self) -> dict[int, list[tuple[int, int]]]:
        """By version, the ranges of buckets whose entities get it, somewhere, now or as soon as it is filled."""
        found: dict[int, set[tuple[int, int]]] = {}
        for shares in {self.shares, self.recommend, *self.elsewhere}:
            for version, claim in ranges(shares).items():
                found.setdefault(version, set()).add(claim)
        return {version: sorted(claims) for version, claims in sorted(found.items())}


class ActiveTable:
    """Written by the deployer's thread alone."""

    def __init__(self) -> None:
        self.current: Mapping[str, ActiveModel] = {}
        self.generation = 0
        """Grows with every swap, after it: who read a generation first, and then the table, has seen no older one."""

    def swap(self, model: ActiveModel) -> None:
        """Put in a model's new state."""
        self.current = {**self.current, model.name: model}
        self.generation += 1

    def lookup(self, name: str) -> ActiveModel:
        """Return a model of which something serves; NotFoundError, or UnavailableError when nothing does yet."""
        active = self.current.get(name)
        if active is None:
            raise NotFoundError(f"model {name!r}: not announced, or not known here yet")
        if not active.shares:
            raise UnavailableError(f"model {name!r}: no version of it is ready")
        return active

    def acquire(self, name: str, *, entity: bytes | None = None, version: int | None = None) -> LoadedModel:
        """Take a lease on the version that `Recommend` gives an entity, or the one named, or the main one.

        The caller gives it back: `release`. NotFoundError or UnavailableError as by `lookup`.
        """
        while True:
            active = self.lookup(name)
            wanted = version or (version_for(active.recommend, name, entity) if entity is not None else active.main)
            loaded = active.versions.get(wanted)
            if loaded is None:
                serving = ", ".join(str(v) for v in sorted(active.versions))
                raise NotFoundError(f"model {name!r} version {wanted}: expected one that serves ({serving})")
            if loaded.acquire():
                return loaded

    @contextmanager
    def lease(self, name: str, *, entity: bytes | None = None, version: int | None = None) -> Iterator[LoadedModel]:
        """Hold that version for a while."""
        loaded = self.acquire(name, entity=entity, version=version)
        try:
            yield loaded
        finally:
            loaded.release()
