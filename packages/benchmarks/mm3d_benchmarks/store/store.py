"""The run store: ``runs/<key>/``, one folder per run, named by content.

    spec.json         what the run is (kind, configuration, upstream keys, data, code), written when first asked for
    config.yaml       the same configuration, for people
    lock              held by the process that runs it
    attempts.json     how often it was started without getting further
    job.json          where it was last sent: launcher, job id, submitter
    log.txt           what it printed;  log.jsonl  its loss, step by step
    failure.json      why the last attempt ended without a result
    provenance.json   commit, device, versions of the attempt that finished
    metrics.json      the result. It is written last, by rename, and is the only sign of being done

Nothing in here imports torch.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.result_form import check_form
from mm3d_benchmarks.store.spec import KEY_LENGTH, RunSpec
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json, write_text
from mm3d_core.files.sealed import seal, unseal
from mm3d_core.files.untrusted import parse_json

VERSION = 1  # of this layout; raise it when older folders can no longer be read
_KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


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
        if not _KEY.fullmatch(key):
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
        return sorted(entry.name for entry in os.scandir(self.root) if _KEY.fullmatch(entry.name))

    def done(self) -> set[str]:
        """Keys of all runs that have a result."""
        return {key for key in self.keys() if (self.root / key / "metrics.json").exists()}

    def register(self, spec: RunSpec) -> Run:
        """Make the run's folder and write what it is; harmless when that was done before."""
        run = self.run(spec.key)
        if not (self.root / "store.json").exists():
            write_json(self.root / "store.json", {"version": VERSION})
        known = run.read("spec.json")
        if known is None or RunSpec.from_json(known).key != spec.key:
            write_text(run.folder / "config.yaml", _yaml(spec))
            run.write("spec.json", spec.to_json())
        elif known["local"] != spec.local:
            run.write("spec.json", spec.to_json())
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
        return (self.folder / "spec.json").exists()

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return (self.folder / "metrics.json").exists()

    @property
    def lock_file(self) -> Path:
        """Held by the process that runs it."""
        return self.folder / "lock"

    def holder(self) -> dict[str, Any] | None:
        """Who runs it now, or None."""
        return locks.holder(self.lock_file)

    def read(self, name: str) -> dict[str, Any] | None:
        """One of the run's JSON files; None when it is missing or damaged."""
        return read_json(self.folder / name)

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace one of the run's JSON files in one step."""
        write_json(self.folder / name, value)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``metrics.json``, with its checksum: the run is done."""
        self.write("metrics.json", seal(result))

    def spec(self) -> RunSpec:
        """What the run is.

        Raises:
            UserError: the folder holds no spec, or one whose content does not match its key.
        """
        value = self.read("spec.json")
        if value is None:
            raise UserError(
                f"{self.folder / 'spec.json'}: missing or damaged; delete the folder and run the sweep again"
            )
        try:
            spec = RunSpec.from_json(value)
        except (ValueError, UserError) as error:
            raise UserError(
                f"{self.folder / 'spec.json'}: damaged ({error}); delete the folder and run the sweep again"
            ) from error
        if spec.key != self.key and not self.read("adopted.json"):
            raise UserError(f"{self.folder / 'spec.json'}: describes run {spec.key}; delete the folder and run again")
        return spec

    def metrics(self) -> dict[str, Any]:
        """The result.

        Raises:
            UserError: it is missing, damaged, or of a form that this program does not read.
        """
        try:
            value = unseal(self.read("metrics.json"), required=False)
            if not isinstance(value.get("metrics"), dict):
                raise ValueError("no metrics")
        except ValueError as error:
            raise UserError(
                f"{self.folder / 'metrics.json'}: missing or damaged; `mm3d store rm {self.key}`, then run again"
            ) from error
        check_form(value, str(self.folder / "metrics.json"), self.key)
        return value

    def checkpoint_mark(self) -> int:
        """A number that changes whenever the run has got further (0: no checkpoint yet)."""
        marks = [0]
        with suppress(OSError):
            marks += [e.stat().st_mtime_ns for e in os.scandir(self.folder) if e.name.startswith("checkpoint")]
        return max(marks)

    def begin_attempt(self) -> int:
        """Count a start; returns how many starts in a row got no further than this one's checkpoint."""
        mark, before = self.checkpoint_mark(), self.read("attempts.json") or {}
        count = _count(before, "count") + 1 if before.get("mark") == mark else 1
        self.write("attempts.json", {"count": count, "mark": mark, "total": _count(before, "total") + 1})
        return count

    def take_back_attempt(self) -> None:
        """A start that was ended politely (preemption, time limit, Ctrl-C) does not count."""
        before = self.read("attempts.json")
        if before:
            self.write("attempts.json", {**before, "count": max(0, _count(before, "count") - 1)})

    def attempts(self) -> int:
        """Starts in a row that got no further."""
        return _count(self.read("attempts.json") or {}, "count")

    def starts(self) -> int:
        """All starts so far."""
        return _count(self.read("attempts.json") or {}, "total")

    def forgive(self) -> None:
        """Forget failures and attempts, so that the run is tried again."""
        for name in ("attempts.json", "failure.json"):
            (self.folder / name).unlink(missing_ok=True)

    def forget_failure(self) -> None:
        """The run is tried again: why it failed before is no longer so."""
        (self.folder / "failure.json").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything that was computed, the result first; what the run is stays."""
        (self.folder / "metrics.json").unlink(missing_ok=True)
        for path in sorted(self.folder.iterdir()):
            if path.name not in ("spec.json", "config.yaml", "lock"):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder; the result first, so that a half-deleted run does not look done."""
        (self.folder / "metrics.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def last_progress(self) -> dict[str, Any]:
        """The last complete line of ``log.jsonl``: step, loss, speed, whatever the loop wrote."""
        for line in reversed(tail(self.folder / "log.jsonl", 4096).splitlines()):
            with suppress(ValueError):
                value = parse_json(line)
                if not isinstance(value, dict):
                    continue
                numbers = [value.get(name, 0.0) for name in ("step", "loss", "seconds_per_step")]
                if all(type(number) in (int, float) for number in numbers):
                    return value
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
        if path.is_file() and name.name not in ("lock", "spec.json", "config.yaml", "metrics.json"):
            _link(path, new.folder / name)
    new.write("adopted.json", {"from": old.key, "who": who, "why": why})
    shutil.copyfile(old.folder / "metrics.json", new.folder / ".metrics.adopted.tmp")
    os.replace(new.folder / ".metrics.adopted.tmp", new.folder / "metrics.json")
    return new


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None when the file is missing, half-written or not an object."""
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _count(value: Mapping[str, Any], name: str) -> int:
    """A counter of a run's bookkeeping; 0 where damage made something else of it."""
    count = value.get(name)
    return count if type(count) is int and 0 <= count < 2**31 else 0


def tail(path: Path, size: int) -> str:
    """The last ``size`` bytes of a text file; empty when there is none."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - size))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


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
