"""Who asks for which runs, so that garbage can be told from work.

    runs/asked/<place>/<profile>.<sweep>.json    the cells of a sweep, as somebody last planned or started it
    runs/asked/<place>/hand.<digits>.json        the runs of one command by hand

A place is a working folder: a clone of this project, or wherever `mm3d` was called. Each place writes its own
files, so several people and clones can share a store. Asking again for the same replaces the record; what it asked for
before stays listed as such. A run that nobody asks for any more is garbage; one that nobody ever asked for on record
(made by an older version, say) is nobody's to delete.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mm3d_benchmarks.store.layout import read_json
from mm3d_benchmarks.store.spec import content_key
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json

FOLDER = "asked"  # in the store, beside the runs
BY_HAND = ""  # the name of no sweep


@dataclass(frozen=True)
class Ask:
    """What somebody asks for with one sweep, or with one command by hand.

    Attributes:
        sweep: its name; empty for a command by hand.
        source: the sweep's file, or the command's words.
        cells: label of a row -> kind -> key of the run behind it.
        before: keys that earlier versions of the same asked for.
        folder, user, host, when: who did, from where; ``when`` in whole seconds since 1970.
        file: where this is recorded; empty as long as it is not.
    """

    profile: str
    sweep: str
    source: str
    cells: Mapping[str, Mapping[str, str]]
    before: Sequence[str] = ()
    folder: str = ""
    user: str = ""
    host: str = ""
    when: int = 0
    file: Path = field(default=Path(), compare=False)

    @property
    def keys(self) -> set[str]:
        """All runs that are asked for."""
        return {key for runs in self.cells.values() for key in runs.values()}

    @property
    def title(self) -> str:
        """``table_07``, or ``mm3d run seed=1`` for a command by hand."""
        return self.sweep or f"mm3d run {self.source}".rstrip()

    @property
    def here(self) -> bool:
        """Whether this working folder asks."""
        return self.file.parent.name == place_of(Path.cwd())

    def users(self) -> dict[str, list[str]]:
        """Key -> titles of the cells behind which it stands: ``table_07 iv/0``."""
        users: dict[str, list[str]] = {}
        for label, runs in self.cells.items():
            for key in runs.values():
                users.setdefault(key, []).append(f"{self.title} {label}" if self.sweep else self.title)
        return users


def record(store: Store, ask: Ask) -> None:
    """Replace what this working folder asked for under the same profile and name.

    Raises:
        UserError: the store cannot be written.
    """
    here = Path.cwd()
    name = f"{ask.profile}.{ask.sweep}" if ask.sweep else f"hand.{_digits(ask.profile, ask.source)}"
    path = store.root / FOLDER / place_of(here) / f"{name}.json"
    known = _read(path)
    before = sorted(({*known.before, *known.keys} if known else set()) - ask.keys)
    if known and (known.cells, list(known.before), known.source) == (ask.cells, before, ask.source):
        return
    value = _as_json(ask) | {"before": before, "folder": str(here.resolve()), "when": round(time.time())}
    write_json(path, value | {"user": user(), "host": socket.gethostname()})


def asks(store: Store) -> list[Ask]:
    """Everything that is asked for, by place and name; damaged records are refused.

    Raises:
        UserError: a record cannot be read: nobody can say what it asks for.
    """
    found = []
    for path in sorted((store.root / FOLDER).glob("*/*.json")):
        ask = _read(path)
        if ask is None and path.exists():
            raise UserError(f"{path}: damaged; delete it, and run in its folder what it is named after")
        if ask is not None:
            found.append(ask)
    return found


def withdraw(store: Store, profile: str, kept: Iterable[str]) -> None:
    """Forget the sweeps of this working folder and profile that are not among ``kept`` and whose files are gone."""
    names = set(kept)
    for path in sorted((store.root / FOLDER / place_of(Path.cwd())).glob(f"{profile}.*.json")):
        ask = _read(path)
        if ask is not None and ask.sweep not in names and not Path(ask.source).is_file():
            forget(ask)


def forget(ask: Ask) -> None:
    """From now on nothing is asked for under this record; what it asked for stays listed as such."""
    if ask.cells:
        write_json(ask.file, _as_json(ask) | {"cells": {}, "before": sorted({*ask.before, *ask.keys})})


def users_of(asked: Iterable[Ask]) -> dict[str, list[str]]:
    """Key -> titles of all cells behind which it stands, in anybody's plan."""
    users: dict[str, list[str]] = {}
    for ask in asked:
        for key, titles in ask.users().items():
            users.setdefault(key, []).extend(titles)
    return users


def place_of(folder: Path) -> str:
    """A name for a working folder: its path, and its inode, since containers like to use one path for many folders."""
    path = folder.resolve()
    return content_key([str(path), path.stat().st_ino])


def user() -> str:
    """Who runs this process; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _as_json(ask: Ask) -> dict[str, Any]:
    value = asdict(ask)
    del value["file"]
    return value


def _digits(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def _read(path: Path) -> Ask | None:
    """A record; None where there is none, or a damaged one."""
    value = read_json(path)
    texts = ("profile", "sweep", "source", "folder", "user", "host")
    if value is None or not all(isinstance(value.get(name), str) for name in texts):
        return None
    cells, before = value.get("cells"), value.get("before")
    if not isinstance(cells, dict) or not _all_texts(before) or type(value.get("when")) is not int:
        return None
    if not all(isinstance(runs, dict) and _all_texts(list(runs.values())) for runs in cells.values()):
        return None
    return Ask(**{name: value[name] for name in (*texts, "cells", "before", "when")}, file=path)


def _all_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
