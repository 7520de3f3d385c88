"""What every reader passes over: hidden files, leftovers of systems and archives, and what this program wrote."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from mm3d_core.files.untrusted import parse_json

JUNK = {
    "__macosx", "$recycle.bin", "system volume information", "@eadir", "#recycle", "@recycle", "lost+found",
    "__pycache__", "node_modules", "site-packages", "thumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
MARKS = (
    ("a run store", ("store.json",)),
    ("a run", ("spec.json", "config.yaml")),
    ("a prepared scene", ("scene.json", "coord.npy")),
    ("synthetic scenes", ("synthetic.json",)),
    ("synthetic scenes", ("embedded.json",)),
    ("a Python environment", ("pyvenv.cfg",)),
)  # files that tell, together, what a folder is
OWN_FILES = re.compile(r"prediction_.+\.npz|artefacts\.npz")  # what evaluations and pre-trainings write


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        files: regular files, sorted by path.
        passed: what was passed over and how often.
    """

    files: list[Path] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's data: dotted, or a system's own."""
    return name.startswith((".", "~$")) or name.casefold() in JUNK


def visible(paths: Iterable[Path], root: Path) -> list[Path]:
    """The paths below ``root`` that are not hidden, themselves or by a folder on the way, sorted."""
    return sorted(path for path in paths if not any(is_hidden(part) for part in path.relative_to(root).parts))


def glob_visible(root: Path, *patterns: str) -> list[Path]:
    """What fits the patterns below ``root`` and is not hidden, sorted."""
    return visible({path for pattern in patterns for path in root.glob(pattern)}, root)


def own_output(folder: Path) -> str:
    """What of this program's own output a folder is; empty when it is none."""
    for what, marks in MARKS:
        if all((folder / mark).is_file() for mark in marks):
            return what
    if (folder / "manifest.json").is_file():
        try:
            manifest = parse_json((folder / "manifest.json").read_bytes())
        except (OSError, ValueError):
            return ""
        return (
            "prepared scenes"
            if isinstance(manifest, dict) and {"version", "dataset", "scenes"} <= set(manifest)
            else ""
        )
    return "results" if any(folder.glob("*.provenance.json")) else ""


def walk(root: Path) -> Found:
    """All files below a folder; linked folders are followed, each folder once.

    Folders of this program's own output below ``root`` are passed over, hidden things too.
    """
    found = Found()
    seen = {_identity(root)}
    waiting = [root]
    while waiting:
        folder = waiting.pop(0)
        for entry in _entries(folder, found.passed):
            if is_hidden(entry.name):
                found.passed["hidden files or folders"] += 1
                continue
            try:
                mode = entry.stat().st_mode
            except OSError:
                found.passed["links that lead nowhere"] += 1
                continue
            if S_ISREG(mode) and OWN_FILES.fullmatch(entry.name):
                found.passed["files with predictions or pictures of a run"] += 1
            elif S_ISREG(mode):
                found.files.append(Path(entry.path))
            elif S_ISDIR(mode) and _identity(Path(entry.path)) not in seen:
                seen.add(_identity(Path(entry.path)))
                what = own_output(Path(entry.path))
                if what:
                    found.passed[f"folders with {what}"] += 1
                else:
                    waiting.append(Path(entry.path))
    found.files.sort(key=lambda path: str(path.relative_to(root)))
    return found


def _entries(folder: Path, passed: Counter[str]) -> Iterator[os.DirEntry[str]]:
    """Entries of a folder, real ones before links: a folder that is reached twice goes by its own name."""
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except OSError:
        passed["folders that may not be read"] += 1


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
