"""Fingerprints of an earlier command, as long as no source file has changed since.

A fingerprint parses a hundred modules, which takes most of a second; reading the bytes of every source file that could
count takes some hundredths. What is kept, in ``$XDG_CACHE_HOME/mm3dscene`` (``~/.cache``), is the fingerprint and a
hash of the bytes and places of all sources of the packages it was made from: one other byte, one file more or less, and
it is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning import import_paths
from mm3d_benchmarks.planning.import_paths import PROJECT
from mm3d_benchmarks.store.layout import read_json
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json

MOST_FILES = 3000  # of one package; a larger one is read anew each time
ENDINGS = ("*.py", "*.cpp", "*.hpp", "CMakeLists.txt")


class Remembered:
    """What earlier commands found out about the code of this installation.

    Args:
        folder: where it is kept; None: the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()
        self._states: dict[str, str | None] = {}

    def fingerprint(self, roots: frozenset[str], closure: Callable[[Iterable[str]], list[str]],
                    compute: Callable[[frozenset[str]], str]) -> str:  # fmt: skip
        """The fingerprint of the modules that ``roots`` reach, computed where no earlier one holds.

        Args:
            closure: the names of the modules that some roots reach.
            compute: the fingerprint itself.
        """
        path = self._folder / "fingerprints" / f"{_digits(sys.version, *_places(PROJECT), *sorted(roots))}.json"
        known = read_json(path) or {}
        packages = known.get("packages")
        if isinstance(packages, list) and all(isinstance(name, str) for name in packages):
            state = self._state(packages)
            if state is not None and known.get("state") == state and isinstance(known.get("value"), str):
                return known["value"]
        value = compute(roots)
        packages = sorted({*PROJECT, *(name.split(".")[0] for name in (*roots, *closure(roots)))})
        state = self._state(packages)
        if state is not None:
            with suppress(UserError, OSError):  # a cache that cannot be written is no cache
                write_json(path, {"packages": packages, "state": state, "value": value})
        return value

    def _state(self, packages: Iterable[str]) -> str | None:
        """A hash of the sources of some packages; None when one of them is too large."""
        for package in packages:
            if package not in self._states:
                self._states[package] = _state_of(package)
        states = [self._states[package] for package in packages]
        return None if None in states else _digits(*(str(state) for state in states))


def cache_folder() -> Path:
    """The folder for what can be found out again; of the user, or in ``/tmp`` where there is no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(named) if named else Path.home() / ".cache") / "mm3dscene"
    except RuntimeError:
        return Path(f"/tmp/mm3dscene-{os.getuid()}")


def _state_of(package: str) -> str | None:
    digest, count = hashlib.sha256(), 0
    for place in import_paths.places_of(package):
        files = {place.with_suffix(".py")}
        for ending in ENDINGS:
            files.update(place.rglob(ending))
        files.update(path for ending in ENDINGS[1:] for path in _beside(place, ending))
        count += len(files)
        if count > MOST_FILES:
            return None
        for path in sorted(files):
            if path.is_file():
                digest.update(f"{path}\0".encode())
                digest.update(hashlib.sha256(import_paths.source_of(path)).digest())
    return digest.hexdigest()


def _beside(place: Path, ending: str) -> Iterable[Path]:
    """Sources of compiled code that lie beside a package, as in a checkout."""
    return [*place.parent.glob(ending), *(place.parent / "csrc").glob(ending)]


def _places(packages: Iterable[str]) -> list[str]:
    return [str(place) for package in packages for place in import_paths.places_of(package)]


def _digits(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
