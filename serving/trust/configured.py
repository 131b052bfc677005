"""What the settings demand of bundles, checked when a node starts."""

from collections.abc import Callable

from protos.records import Announced
from serving.artifacts.port import ArtifactStore
from serving.errors import InvalidRequestError
from serving.settings import Settings
from serving.trust.bundles import BundleTrust
from serving.trust.files import read_trust

BundleCheck = Callable[[str, Announced], None]
"""Raises ModelError when a bundle of that model is not to be opened."""


def accept_any_bundle(_model: str, _announced: Announced) -> None:
    """Demand nothing."""


def bundle_trust(settings: Settings, artifacts: ArtifactStore) -> BundleCheck:
    """Return the check of bundles' signatures. UserError when it cannot be made."""
    if not settings.require_bundle_signature:
        return accept_any_bundle
    trust = read_trust(settings.trusted_keys)
    if trust is None:
        raise InvalidRequestError(
            "NEARLINE_REQUIRE_BUNDLE_SIGNATURE", "NEARLINE_TRUSTED_KEYS beside it, which say whose", "none"
        )
    return BundleTrust(trust, artifacts).check
