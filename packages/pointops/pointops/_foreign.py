"""Another distribution that installs a module of the same name: Pointcept's and POSTECH's do.

pip lets the later of the two overwrite the files of the earlier, and uninstalling either deletes files of both.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from importlib import metadata

MODULE = "pointops"
OURS = "mm3d-pointops"


def warn_of_others() -> None:
    """Names the distributions that own the module ``pointops`` beside this one, once, with the remedy."""
    others = foreign_distributions()
    if others:
        named = " and ".join(f"{name} {version}" for name, version in others)
        remove = " ".join([*(name for name, _ in others), OURS])
        warnings.warn(
            f"{named} also installs the module pointops: the later installation has overwritten files of the earlier, "
            f"and uninstalling one deletes the other's. Keep one: pip uninstall -y {remove}, then install {OURS} again "
            "(it has the same functions), or use an environment for each.",
            stacklevel=3,
        )


def foreign_distributions() -> list[tuple[str, str]]:
    """(name, version) of every distribution on the path, other than this one, that installs the module."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        with suppress(OSError, UnicodeDecodeError):
            if _owns(distribution):
                name = distribution.metadata["Name"] or "a distribution without a name"
                if _canonical(name) != OURS:
                    found[name] = distribution.version
    return sorted(found.items())


def _owns(distribution: metadata.Distribution) -> bool:
    """Whether ``pointops`` is among its top-level modules, by what setuptools notes, else by its list of files."""
    noted = distribution.read_text("top_level.txt")
    if noted is not None:
        return MODULE in noted.split()
    return f"\n{MODULE}/__init__.py," in "\n" + (distribution.read_text("RECORD") or "")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
