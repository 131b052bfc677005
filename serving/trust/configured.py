"""What the settings demand of bundles, checked when a node starts."""

from collections.abc import Callable
from pathlib import Path

from protos.records import Announced
from serving.artifacts.port import ArtifactStore
from serving.errors import InvalidRequestError
from serving.settings import Settings
from serving.trust.bundle_files import load_library
from serving.trust.bundles import BundleTrust
from serving.trust.files import read_trust
from serving.trust.keyring import Keyring
from serving.trust.trust import Trust

BundleCheck = Callable[[str, Announced], None]
"""Raises ModelError when a bundle of that model is not to be opened."""


def accept_any_bundle(_model: str, _announced: Announced) -> None:
    """Demand nothing."""


def bundle_trust(
    settings: Settings, keyring: Keyring, artifacts: ArtifactStore, kept: Callable[[str, str], Path]
) -> BundleCheck:
    """Return the check of bundles' signatures, which `kept` says where to keep. UserError when it cannot be made."""
    check_trust(settings)
    if not settings.require_bundle_signature:
        return accept_any_bundle

    def trusted() -> Trust:
        trust = keyring.trust
        assert trust is not None, "check_trust has found somebody, and a keyring never loses all"  # noqa: S101
        return trust

    return BundleTrust(trusted, artifacts, kept).check


def check_trust(settings: Settings) -> Trust | None:
    """Return whom the settings trust, None = nobody; UserError when that cannot be, or cannot be found out."""
    trust = read_trust(settings.trusted_keys)
    if settings.require_bundle_signature:
        if trust is None:
            raise InvalidRequestError(
                "NEARLINE_REQUIRE_BUNDLE_SIGNATURE", "NEARLINE_TRUSTED_KEYS beside it, which say whose", "none"
            )
        load_library()
    return trust
