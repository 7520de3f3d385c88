"""What prepared scenes were made from: the hash of every raw file that a reader reads, each computed once.

A file whose size, inode and times are those of the last time keeps its hash without being read again. These hints lie
beside the scenes; without them, or with damaged ones, all files are hashed anew and the scenes stay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.formats.placeholder import what_it_is
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scene import hash_file
from mm3d_core.files.sealed import read_sealed, write_sealed

HINTS = "sources.json"  # in the prepared folder
FRESH = 2.0  # seconds within which a file may change without a change of its time stamp


@dataclass
class SourceHashes:
    """Hashes of raw files.

    Attributes:
        raw: the folder, or single file, to which names are relative.
        hints: name -> [size, modified, changed, inode, hash].
        new: hints made since the last :meth:`save`.
    """

    raw: Path
    hints: dict[str, list[Any]] = field(default_factory=dict)
    new: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, raw: Path, out: Path) -> SourceHashes:
        """With the hints that the prepared folder holds for this raw folder."""
        stored = read_sealed(out / HINTS) or {}
        hints = stored.get("files") if stored.get("raw") == str(raw.resolve()) else None
        return cls(raw, hints if isinstance(hints, dict) else {})

    def save(self, out: Path) -> None:
        """Write the hints, if there are new ones."""
        if self.new:
            self.hints |= self.new
            self.new = {}
            write_sealed(out / HINTS, {"raw": str(self.raw.resolve()), "files": self.hints})

    def of(self, files: Iterable[Path]) -> dict[str, str]:
        """Name -> SHA-256 of each file.

        Raises:
            BrokenSceneError: a file is not there, cannot be read, or something else stands in its place.
        """
        return {self.name(path): self._hash(path) for path in files}

    def name(self, path: Path) -> str:
        """A file's path below the raw folder, so that the folder may be moved."""
        base = self.raw if self.raw.is_dir() else self.raw.parent
        return os.path.relpath(path, base)

    def _hash(self, path: Path) -> str:
        name = self.name(path)
        try:
            found = path.stat()
            stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            for hint in (self.new.get(name), self.hints.get(name)):
                if isinstance(hint, list) and len(hint) == 5 and hint[:4] == stamp and isinstance(hint[4], str):
                    return hint[4]
            instead = what_it_is(path)
            if instead:
                raise BrokenSceneError(f"{path}: is {instead}")
            value = hash_file(path)
        except OSError as error:
            raise BrokenSceneError(f"{path}: cannot be read ({error.strerror}); download or export it again") from error
        if time.time() - max(found.st_mtime, found.st_ctime) > FRESH:
            self.new[name] = [*stamp, value]
        return value
