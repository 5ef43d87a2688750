"""Model cards: the text beside a policy file that says how it was made, what it scores and where that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from liquid_pilot.bundle import load_bundle, policy_path
from liquid_pilot.errors import BundleError

SUFFIX: Final = ".md"
LARGEST_BYTES: Final = 2**20


def card_path(policy: Path) -> Path:
    """Where the card of a policy file is."""
    return policy.with_suffix(SUFFIX)


def read_card(name_or_path: str | Path) -> str:
    """The card of a policy, Markdown: of a shipped name ("hover"), or of the path of a `.safetensors` file.

    Raises `ConfigError` for a name that is not shipped, and `BundleError` for a policy that cannot be trusted, a card
    that is not there and one of other weights.
    """
    policy = policy_path(name_or_path)
    sha256, path = str(load_bundle(policy).metadata["sha256"]), card_path(policy)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_BYTES).decode()
    except (OSError, ValueError) as error:
        raise BundleError(f"the card {path} cannot be read ({error}); {_fix(policy)}") from error
    if sha256 not in text:
        raise BundleError(f"the card {path} does not name the sha256 {sha256}: it is of other weights; {_fix(policy)}")
    return text


def _fix(policy: Path) -> str:
    return f"in a checkout of the project, make one with `python -m scripts.card {policy}`"
