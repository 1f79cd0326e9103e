"""Why a second network was tried, or was not, in a sentence."""

from __future__ import annotations

from medgraft.results.recommendation import SecondNetwork


def sentence(second: SecondNetwork | None) -> str:
    """What became of the network beside the default one; '' where there was none to try."""
    if second is None:
        return ""
    if second.tried:
        return (
            f"No network was named, so {second.backbone}, which is installed, was tried beside the "
            f"default one, and so were the two joined: {second.images:,} readings of an image are "
            f"few enough for its forward pass (at most {second.most:,})."
        )
    return (
        f"{second.backbone} is installed but was not tried beside the default network: its forward "
        f"pass is slow, and there are {second.images:,} readings of an image (at most "
        f"{second.most:,}); name both with --backbone to try it."
    )
