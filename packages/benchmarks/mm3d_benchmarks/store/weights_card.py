"""A weights card: what is known of weights from elsewhere, in YAML beside them (``encoder.card.yaml``).

    file: encoder.safetensors
    sha256: ...             of that file; a card of other content is refused
    from: https://...       where they were published
    licence: MIT
    trained_on: ScanNetv2
    method: MM-3DScene
    citation, note          whatever a reader must know
    released                of an import: the file that was read, its sha256, the account of its names

All but the first two are what somebody knew, or ``unknown``. A card can be written by hand.

Nothing in here imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text
from mm3d_core.files.untrusted import parse_yaml

SUFFIX = ".card.yaml"
KNOWN = ("from", "licence", "trained_on", "method", "citation", "note")  # what a person says of weights
UNKNOWN = "unknown"


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies."""
    return weights.with_suffix(SUFFIX)


def write_card(weights: Path, known: Mapping[str, str], released: Mapping[str, Any] | None = None) -> Path:
    """Write the card of a weights file.

    Args:
        known: values of some of ``KNOWN``.
        released: what an import says of the file that it read.

    Raises:
        UserError: the folder cannot be written.
    """
    told = {name: known.get(name) or UNKNOWN for name in KNOWN if name in known or name not in ("citation", "note")}
    card = {"file": weights.name, "sha256": sha256_of(weights), **told, **({"released": released} if released else {})}
    head = f"# What is known of {weights.name}; correct it where you know more.\n"
    write_text(card_path(weights), head + yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card_path(weights)


def read_card(weights: Path, sha256: str) -> dict[str, Any] | None:
    """The card beside a weights file, or None if there is none.

    Args:
        sha256: of the weights file.

    Raises:
        UserError: it cannot be read, is no card, or is that of another file.
    """
    path = card_path(weights)
    try:
        card = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a weights card ({error}); correct it, or delete it") from error
    if not isinstance(card, dict) or not all(isinstance(name, str) for name in card):
        raise UserError(f"{path}: a weights card has lines such as `licence: MIT`; correct it, or delete it")
    if card.get("sha256") not in (None, sha256):
        raise UserError(
            f"{path}: is the card of another file (its sha256 is not that of {weights.name}); correct the card, or "
            "import the weights again"
        )
    return {name: card[name] if isinstance(card[name], int | float | dict) else str(card[name]) for name in card}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex; read again only when the file was touched.

    Raises:
        UserError: no such file, or it cannot be read.
    """
    try:
        status = path.stat()
        return _hashed(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct the path") from error


@lru_cache(maxsize=256)
def _hashed(path: Path, *_: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
