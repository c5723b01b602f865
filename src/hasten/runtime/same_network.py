"""Whether a profile is of the same network as a package."""

from __future__ import annotations

from hasten.core.errors import InputError
from hasten.core.profile import Profile
from hasten.split.package import Package


def require_fit(profile: Profile, package: Package) -> None:
    """Refuse a profile of another network than the package's with an :class:`InputError`."""
    found = (len(profile.blocks), [head.after_block for head in profile.exits])
    wanted = (package.manifest.block_count, [exit_.after_block for exit_ in package.manifest.exits])
    if found != wanted:
        raise InputError(f"profile {profile.name}", "blocks, exits", found, f"{wanted} as package {package.path} has")
    if profile.confidence is not None:
        mine = package.manifest.confidence
        thresholds = None if mine is None else mine.thresholds
        if profile.confidence.thresholds != thresholds:
            expected = f"{thresholds} as package {package.path} has"
            raise InputError(
                f"profile {profile.name}", "confidence.thresholds", profile.confidence.thresholds, expected
            )
