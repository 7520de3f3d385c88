"""The run store: ``runs/<key>/``, one folder per run, named by content; :mod:`layout` says what is in it.

Nothing in here imports torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.store import layout, locks
from mm3d_benchmarks.store.layout import KEY, read_json
from mm3d_benchmarks.store.result_form import check_form
from mm3d_benchmarks.store.spec import KEY_LENGTH, RunSpec
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json, write_text

VERSION = 1  # of this layout; raise it when older folders can no longer be read


@dataclass(frozen=True)
class Store:
    """The folder of all runs.

    Raises:
        UserError: the folder belongs to another version of the store.
    """

    root: Path

    def __post_init__(self) -> None:
        found = read_json(self.root / "store.json")
        if found is not None and found.get("version") != VERSION:
            raise UserError(
                f"{self.root}: is a run store of version {found.get('version')}, this program writes version "
                f"{VERSION}; "
                "choose another folder with --store, or use the program that wrote it"
            )

    def run(self, key: str) -> Run:
        """The run of that key, whether or not it exists yet.

        Raises:
            UserError: not a key; a path such as ``../x`` cannot leave the store.
        """
        if not KEY.fullmatch(key):
            raise UserError(f"{key!r} is no run key; a key is {KEY_LENGTH} hex digits, see `mm3d store ls`")
        return Run(self.root / key)

    def find(self, beginning: str) -> Run:
        """The one run whose key begins so.

        Raises:
            UserError: none, or several.
        """
        found = [key for key in self.keys() if key.startswith(beginning)]
        if len(found) != 1:
            several = f"; {len(found)} keys begin so: {', '.join(found[:5])}" if found else ""
            raise UserError(f"{self.root}: no single run {beginning!r}{several}")
        return self.run(found[0])

    def keys(self) -> list[str]:
        """Keys of all runs in the store, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.root) if KEY.fullmatch(entry.name))

    def done(self) -> set[str]:
        """Keys of all runs that have a result."""
        return {key for key in self.keys() if (self.root / key / layout.METRICS).exists()}

    def register(self, spec: RunSpec) -> Run:
        """Make the run's folder and write what it is; harmless when that was done before."""
        run = self.run(spec.key)
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"version": VERSION})
        known = run.read(layout.SPEC)
        if known is None or RunSpec.from_json(known).key != spec.key:
            write_text(run.folder / layout.CONFIG, _yaml(spec))
            run.write(layout.SPEC, spec.to_json())
        elif known["local"] != spec.local:
            run.write(layout.SPEC, spec.to_json())
        return run


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def key(self) -> str:
        """12 hex digits."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether the run was ever asked for."""
        return (self.folder / layout.SPEC).exists()

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return (self.folder / layout.METRICS).exists()

    @property
    def lock_file(self) -> Path:
        """Held by the process that runs it."""
        return self.folder / layout.LOCK

    def holder(self) -> dict[str, Any] | None:
        """Who runs it now, or None."""
        return locks.holder(self.lock_file)

    def read(self, name: str) -> dict[str, Any] | None:
        """One of the run's JSON files; None when it is missing or damaged."""
        return read_json(self.folder / name)

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace one of the run's JSON files in one step."""
        write_json(self.folder / name, value)

    def spec(self) -> RunSpec:
        """What the run is.

        Raises:
            UserError: the folder holds no spec, or one whose content does not match its key.
        """
        value = self.read(layout.SPEC)
        if value is None:
            raise UserError(
                f"{self.folder / layout.SPEC}: missing or damaged; delete the folder and run the sweep again"
            )
        try:
            spec = RunSpec.from_json(value)
        except (ValueError, UserError) as error:
            raise UserError(
                f"{self.folder / layout.SPEC}: damaged ({error}); delete the folder and run the sweep again"
            ) from error
        if spec.key != self.key and not self.read(layout.ADOPTED):
            raise UserError(f"{self.folder / layout.SPEC}: describes run {spec.key}; delete the folder and run again")
        return spec

    def metrics(self) -> dict[str, Any]:
        """The result.

        Raises:
            UserError: it is missing, damaged, or of a form that this program does not read.
        """
        value = layout.read_result(self.folder)
        if value is None:
            raise UserError(
                f"{self.folder / layout.METRICS}: missing or damaged; `mm3d store rm {self.key}`, then run again"
            )
        check_form(value, str(self.folder / layout.METRICS), self.key)
        return value

    def checkpoint_mark(self) -> int:
        """A number that changes whenever the run has got further (0: no checkpoint yet)."""
        marks = [0]
        with suppress(OSError):
            marks += [e.stat().st_mtime_ns for e in os.scandir(self.folder) if e.name.startswith("checkpoint")]
        return max(marks)

    def checkpoints(self) -> list[Path]:
        """Files that a training would go on from; a finished run needs them no more."""
        with suppress(OSError):
            return sorted(path for path in self.folder.iterdir() if path.name in layout.CHECKPOINTS)
        return []

    def drop_checkpoints(self) -> int:
        """Delete the checkpoints of a finished run; returns the bytes that they took. Any other run keeps its own."""
        freed = 0
        for path in self.checkpoints() if self.is_done else ():
            with suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                freed += size
        return freed

    def begin_attempt(self) -> int:
        """Count a start; returns how many starts in a row got no further than this one's checkpoint."""
        mark, before = self.checkpoint_mark(), self.read(layout.ATTEMPTS) or {}
        count = _count(before, "count") + 1 if before.get("mark") == mark else 1
        self.write(layout.ATTEMPTS, {"count": count, "mark": mark, "total": _count(before, "total") + 1})
        return count

    def take_back_attempt(self) -> None:
        """A start that was ended politely (preemption, time limit, Ctrl-C) does not count."""
        before = self.read(layout.ATTEMPTS)
        if before:
            self.write(layout.ATTEMPTS, {**before, "count": max(0, _count(before, "count") - 1)})

    def attempts(self) -> int:
        """Starts in a row that got no further."""
        return _count(self.read(layout.ATTEMPTS) or {}, "count")

    def starts(self) -> int:
        """All starts so far."""
        return _count(self.read(layout.ATTEMPTS) or {}, "total")

    def forgive(self) -> None:
        """Forget failures and attempts, so that the run is tried again."""
        for name in (layout.ATTEMPTS, layout.FAILURE):
            (self.folder / name).unlink(missing_ok=True)

    def forget_failure(self) -> None:
        """The run is tried again: why it failed before is no longer so."""
        (self.folder / "failure.json").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything that was computed, the result first; what the run is stays."""
        (self.folder / layout.METRICS).unlink(missing_ok=True)
        for path in sorted(self.folder.iterdir()):
            if path.name not in (layout.SPEC, layout.CONFIG, layout.LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder; the result first, so that a half-deleted run does not look done."""
        (self.folder / layout.METRICS).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def last_progress(self) -> dict[str, Any]:
        """The last record of ``log.jsonl``: step, loss, speed, whatever the loop wrote; empty when there is none."""
        for record in reversed(list(layout.log_records(self.folder, last=4096))):
            if all(type(record.get(name, 0.0)) in (int, float) for name in ("loss", "seconds_per_step")):
                return record
        return {}


def adopt(store: Store, old: Run, spec: RunSpec, who: str, why: str) -> Run:
    """Re-key a finished run as ``spec``: link its files under the new key and record who decided so, and why.

    Raises:
        UserError: the old run is not done or its result is of another form, or the new key is already taken.
    """
    if not old.is_done:
        raise UserError(f"{old.folder}: has no result to adopt; choose a finished run")
    old.metrics()
    new = store.run(spec.key)
    if new.is_done:
        raise UserError(f"{new.folder}: is done already; there is nothing to adopt")
    store.register(spec)
    for path in sorted(old.folder.rglob("*")):
        name = path.relative_to(old.folder)
        if path.is_file() and name.name not in (layout.LOCK, layout.SPEC, layout.CONFIG, layout.METRICS):
            _link(path, new.folder / name)
    new.write(layout.ADOPTED, {"from": old.key, "who": who, "why": why})
    shutil.copyfile(old.folder / layout.METRICS, new.folder / ".metrics.adopted.tmp")
    os.replace(new.folder / ".metrics.adopted.tmp", new.folder / layout.METRICS)
    return new


def _count(value: Mapping[str, Any], name: str) -> int:
    """A counter of a run's bookkeeping; 0 where damage made something else of it."""
    count = value.get(name)
    return count if type(count) is int and 0 <= count < 2**31 else 0


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _yaml(spec: RunSpec) -> str:
    head = f"# {spec.kind} {spec.key}; written by mm3d, read by people: changing it changes nothing\n"
    return head + yaml.safe_dump(spec.effective_config(), sort_keys=True, allow_unicode=True)
