"""Installations whose nodes trust keys, and publishers that have some."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.trust.keys import create_keys
from tests.end_to_end.installation import Installation


@dataclass(frozen=True)
class Guarded:
    """`team` may speak for `shop` and `other`, `rival` for `rivals` only, `eve` is trusted by nobody."""

    installation: Installation
    folder: Path

    def by(self, name: str, *, trusting: bool = True) -> Installation:
        """What a publisher sees who has that key. `trusting`: whether it knows whom the nodes trust."""
        overrides = {"signing_key": str(self.folder / f"{name}.key")} if name else {}
        return self.nodes(trusting=trusting).having(**overrides)

    def nodes(self, *, trusting: bool = True, **more: str) -> Installation:
        """What the nodes see."""
        return self.installation.having(**({"trusted_keys": str(self.folder)} if trusting else {}), **more)

    def trust(self, **patterns: list[str]) -> None:
        """Say whom the nodes trust, by name and models."""
        keys = [
            {"name": name, "public_key": f"{name}.pub", "models": models} for name, models in sorted(patterns.items())
        ]
        self.write(yaml.safe_dump({"keys": keys}))

    def write(self, text: str) -> None:
        """Replace what says whom they trust, in one step: they look at any moment."""
        part = self.folder / "trust.part"
        part.write_text(text)
        part.replace(self.folder / "trust.yaml")


def guarded(installation: Installation) -> Guarded:
    """Make the keys."""
    folder = installation.folder / "keys"
    for name in ("team", "rival", "eve"):
        create_keys(folder, name)
    found = Guarded(installation, folder)
    found.trust(team=["shop", "other"], rival=["rivals"])
    return found
