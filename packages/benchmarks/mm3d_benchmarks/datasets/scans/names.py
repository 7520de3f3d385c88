"""Names of scenes from the paths of scan files: any script, any length, each its own."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

LONGEST = 100  # bytes; file systems allow 255, and files are named after scenes
RESERVED = ("manifest.json", "sources.json")  # files beside the scenes
KEPT = ("L", "M", "N", "So")  # Unicode categories: letters, their marks, digits, and symbols such as emoji


def scene_names(paths: Sequence[Path], base: Path) -> dict[str, Path]:
    """Name -> path, in the order of the paths.

    A name is the path below ``base`` without suffix, other characters than letters, digits, ``. - _`` replaced by
    ``_``. A hash of the path is added where the name would be too long, or not told from another's.
    """
    stems = {path: _below(path, base) if path.is_dir() else _stem(_below(path, base)) for path in paths}
    plain = {path: scene_name(stem) for path, stem in stems.items()}
    users: dict[str, list[Path]] = {}
    for path, name in plain.items():
        users.setdefault(name.casefold(), []).append(path)
    names: dict[str, Path] = {}
    for path, name in plain.items():
        alike = users[name.casefold()]
        own = name not in RESERVED and (len(alike) == 1 or (path == alike[0] and name == stems[path]))
        names[name if own else f"{name}_{_digest(_below(path, base))}"] = path
    return names


def scene_name(path: str) -> str:
    """The name of a relative path without suffix, shortened in the middle where it is too long."""
    stem = unicodedata.normalize("NFC", path)
    kept = "".join(c if c in "._-" or unicodedata.category(c).startswith(KEPT) else " " for c in stem)
    name = "_".join(kept.split()).lstrip(".") or "scan"
    if len(name.encode()) <= LONGEST:
        return name
    head, tail = name.encode()[: LONGEST // 4], name.encode()[-LONGEST // 2 :]
    return f"{head.decode(errors='ignore')}_{_digest(path)}_{tail.decode(errors='ignore')}".replace("__", "_")


def _below(path: Path, base: Path) -> str:
    return str(path.relative_to(base))


def _stem(path: str) -> str:
    """Without the suffix of the file's name."""
    stem, dot, suffix = path.rpartition(".")
    return stem if dot and stem and os.sep not in suffix else path


def _digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
