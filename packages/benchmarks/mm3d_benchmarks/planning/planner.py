"""The plan: every cell of every sweep composed once, as JSON whose bytes depend on nothing but the answer.

    plan/<profile>/runs/<kind>.json     key -> the run, for all distinct runs of all sweeps
    plan/<profile>/sweeps/<name>.json   the sweep's cells, and which run of each kind stands behind each

A cell asks for its last run (usually an evaluation); the fine-tuning and the pre-training before it follow. Equal runs
of different tables have equal keys and are planned once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.compose import compose, strip_machine
from mm3d_benchmarks.planning.conditions import left_out
from mm3d_benchmarks.planning.fingerprint import fingerprint
from mm3d_benchmarks.planning.given_weights import given_spec, is_given
from mm3d_benchmarks.planning.notes import left_out_note, notes_of, own_notes, rows_left_out
from mm3d_benchmarks.planning.remembered import Remembered
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.strictness import check_targets
from mm3d_benchmarks.planning.sweepfile import Cell, Sweep
from mm3d_benchmarks.store.layout import read_json
from mm3d_benchmarks.store.spec import KEY_LENGTH, KINDS, LISTS, RunSpec, content_key, in_order, seen_by
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text_if_changed

#: What an override reaches when the pre-training sees another data set than the fine-tuning does.
_OF_PRETRAINING = ("pretrain", "backbone", "recipe.pretrain", "seed", "machine", "profile", "launcher")


@dataclass(frozen=True)
class PlannedCell:
    """A row with a seed, and the keys of its runs by kind."""

    row: str
    seed: int
    runs: Mapping[str, str]


@dataclass
class Plan:
    """Runs by key, and cells by sweep."""

    profile: str
    source: str = "synthetic"
    specs: dict[str, RunSpec] = field(default_factory=dict)
    cells: dict[str, list[PlannedCell]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[str, str] = field(
        default_factory=dict
    )  # data set -> synthetic, official or user, of what is prepared

    def of_kind(self, kind: str) -> list[RunSpec]:
        """The runs of a kind, by key."""
        return [spec for key, spec in sorted(self.specs.items()) if spec.kind == kind]

    def used_by(self) -> dict[str, list[str]]:
        """Key -> names of the cells behind which it stands."""
        users: dict[str, list[str]] = {key: [] for key in self.specs}
        for sweep, cells in sorted(self.cells.items()):
            for cell in cells:
                for key in cell.runs.values():
                    users[key].append(f"{sweep}/{cell.row}/{cell.seed}")
        return users

    def add(self, other: Plan) -> None:
        """Take over the sweeps of another plan that this one lacks, with their runs."""
        self.origins = other.origins | self.origins
        for sweep in other.cells.keys() - self.cells.keys():
            self.cells[sweep], self.kinds[sweep] = other.cells[sweep], other.kinds[sweep]
            self.notes[sweep] = other.notes.get(sweep, [])
            self.specs |= {key: other.specs[key] for cell in self.cells[sweep] for key in cell.runs.values()}

    def write(self, folder: Path) -> bool:
        """Write the plan's files and remove those of sweeps that are not in it; returns whether any byte changed."""
        files = {folder / "runs" / f"{kind}.json": self._runs(kind) for kind in KINDS}
        for sweep, cells in self.cells.items():
            value = {
                "profile": self.profile,
                "source": self.source,
                "origins": self.origins,
                "kind": self.kinds[sweep],
                "notes": self.notes.get(sweep, []),
                "cells": [{"row": c.row, "seed": c.seed, "runs": dict(c.runs)} for c in cells],
            }
            files[folder / "sweeps" / f"{sweep}.json"] = value
        changed = False
        for path, value in files.items():
            changed |= write_text_if_changed(path, json.dumps(value, sort_keys=True, indent=1) + "\n")
        for stale in set(folder.glob("sweeps/*.json")) - set(files):
            stale.unlink()
            changed = True
        return changed

    def _take(self, sweep: str, value: Mapping[str, Any]) -> None:
        """The cells of one sweep, from its file; any of several errors when they are not what :meth:`write` wrote."""
        self.profile, self.source, self.kinds[sweep] = str(value["profile"]), str(value["source"]), str(value["kind"])
        self.origins |= {str(name): str(kind) for name, kind in value.get("origins", {}).items()}
        self.notes[sweep] = [str(note) for note in value["notes"]]
        self.cells[sweep] = [PlannedCell(str(c["row"]), int(c["seed"]), dict(c["runs"])) for c in value["cells"]]
        for cell in self.cells[sweep]:
            strange = [key for kind, key in cell.runs.items() if kind not in KINDS or key not in self.specs]
            if strange or value["kind"] not in cell.runs:
                raise ValueError(f"row {cell.row} names runs that no plan knows: {strange}")

    def _runs(self, kind: str) -> dict[str, Any]:
        return {spec.key: spec.to_json() for spec in self.of_kind(kind)}

    @classmethod
    def read(cls, folder: Path, sweeps: Sequence[str] | None = None) -> Plan:
        """The plan in a folder, or the part of it that some sweeps need.

        Raises:
            UserError: there is none, or a file of it is damaged or contradicts itself.
        """
        plan = cls(folder.name)
        for kind in KINDS:
            for key, value in _plan_file(folder / "runs" / f"{kind}.json").items():
                try:
                    spec = RunSpec.from_json(value)
                except (ValueError, UserError) as error:
                    raise UserError(f"{folder}/runs/{kind}.json: damaged ({error}); run `mm3d plan` again") from error
                if spec.key != key:
                    raise UserError(f"{folder}/runs/{kind}.json: run {key} was edited by hand; run `mm3d plan` again")
                plan.specs[key] = spec
        for path in sorted(folder.glob("sweeps/*.json")):
            if sweeps is None or path.stem in sweeps:
                value = _plan_file(path)
                try:
                    plan._take(path.stem, value)
                except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
                    raise UserError(f"{path}: damaged ({error!r}); run `mm3d plan` again") from error
        if sweeps is not None:
            needed = {key for cells in plan.cells.values() for cell in cells for key in cell.runs.values()}
            plan.specs = {key: spec for key, spec in plan.specs.items() if key in needed}
        in_order(plan.specs.values())
        return plan


@dataclass
class Planner:
    """Turns requests into runs; caches what many cells share.

    Attributes:
        profile: name of the profile.
        needs_data: refuse a data set that has not been prepared; otherwise its hash is left empty (a dry look).
        folders: further folders with group files.
    """

    profile: str
    needs_data: bool = True
    folders: tuple[Path, ...] = ()
    _manifests: dict[Path, str] = field(default_factory=dict)
    _left_out: dict[Path, str] = field(default_factory=dict)
    _origins: dict[str, str] = field(default_factory=dict)
    _checked: set[str] = field(default_factory=set)
    _remembered: Remembered = field(default_factory=Remembered)

    def plan(self, sweeps: Iterable[Sweep]) -> Plan:
        """All cells of some sweeps.

        Raises:
            UserError: a sweep that is wrong (unknown names, unfilled rows, unfair comparisons), or missing data.
        """
        settings = compose(Request({"profile": self.profile}, folders=self.folders))["profile"]
        plan = Plan(self.profile, settings["data"]["source"])
        for sweep in sweeps:
            own = _own_of(settings, sweep.name)
            cells = [_with_own(cell, own) for cell in sweep.cells(self.profile, settings["seeds"], self.folders)]
            try:
                chains = [self.chain(cell.request, sweep.kind) for cell in cells]
            except UserError as error:
                raise UserError(f"{sweep.path}: {error}") from error
            reasons = [left_out(chain, settings.get("leave_out") or []) for chain in chains]
            dropped = {cell.row: reason for cell, reason in zip(cells, reasons, strict=True) if reason}
            cells = [cell for cell, reason in zip(cells, reasons, strict=True) if not reason]
            chains = [chain for chain, reason in zip(chains, reasons, strict=True) if not reason]
            check_fairness(sweep, cells, chains)
            plan.kinds[sweep.name] = sweep.kind
            plan.notes[sweep.name] = [
                *rows_left_out(self.profile, dropped),
                *own_notes(self.profile, own),
                *self._scenes_left_out(chains),
                *notes_of(self.profile, (settings.get("replace") or {}).get("evaluation") or {}, cells, chains),
            ]
            plan.cells[sweep.name] = [
                PlannedCell(cell.row, cell.seed, {kind: spec.key for kind, spec in chain.items()})
                for cell, chain in zip(cells, chains, strict=True)
            ]
            plan.specs.update({spec.key: spec for chain in chains for spec in chain.values()})
        in_order(plan.specs.values())
        plan.origins = dict(self._origins)
        return plan

    def chain(self, request: Request, kind: str) -> dict[str, RunSpec]:
        """The run that is asked for and those before it, by kind, upstreams first."""
        request = Request(
            {"profile": self.profile, **request.choices}, request.overrides, request.folders or self.folders
        )
        config = compose(request)
        chain: dict[str, RunSpec] = {}
        if is_given(config):
            chain["pretrain"] = given_spec(config, self.root_of(config), self.needs_data)
        elif config.get("pretrain", {}).get("name", "none") != "none":
            chain["pretrain"] = self._spec("pretrain", self._pretraining(request, config), {})
        elif kind == "pretrain":
            raise UserError("kind=pretrain with pretrain=none: there is nothing to pre-train; choose a method")
        if kind == "pretrain":
            return chain
        before = {"pretrain": chain["pretrain"].key} if chain else {}
        starts_from = config["evaluation"].get("upstream", "finetune") if kind == "evaluate" else "finetune"
        chooses = kind == "evaluate" and config["evaluation"].get("select", "last") == "best"
        if chooses and not config["recipe"]["finetune"].get("snapshots"):
            raise UserError(
                "evaluation.select=best needs snapshots to choose among; set recipe.finetune.snapshots=10, say"
            )
        if starts_from == "finetune":
            chain["finetune"] = self._spec("finetune", config, before)
            before = {"finetune": chain["finetune"].key}
        if kind == "evaluate":
            chain["evaluate"] = self._spec("evaluate", config, before)
        return chain

    def _scenes_left_out(self, chains: Sequence[Mapping[str, RunSpec]]) -> list[str]:
        roots = {Path(spec.local["dataset"]["root"]) for chain in chains for spec in chain.values()}
        return [note for root in sorted(roots) if (note := self._left_out.get(root))]

    def _pretraining(self, request: Request, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration of the pre-training, which may see another data set than the fine-tuning."""
        other = config.get("pretrain_on")
        if other in (None, config["dataset"]["name"]):
            return config
        backbone = request.choices.get("backbone") or config["backbone"]["name"]
        choices = {**request.choices, "dataset": other, "recipe": f"{backbone}_{other}"}
        overrides = {
            key: value
            for key, value in request.overrides.items()
            if any(key == part or key.startswith(f"{part}.") for part in _OF_PRETRAINING)
        }
        return compose(Request(choices, overrides, request.folders))

    def _spec(self, kind: str, config: dict[str, Any], upstream: dict[str, str]) -> RunSpec:
        kept, local = strip_machine(seen_by(kind, config))
        kept.pop("pretrain_on", None)
        self._check_targets(kept)
        dataset, root = kept["dataset"]["name"], self.root_of(config)
        local.setdefault("dataset", {})["root"] = str(root)
        data = {dataset: self._manifest(root, dataset), **(self._lists(kept) if kind == "finetune" else {})}
        return RunSpec(kind, kept, upstream, data, fingerprint(kind, kept, self._remembered), local)

    @staticmethod
    def root_of(config: Mapping[str, Any]) -> Path:
        """The folder of the prepared data set; scans of a user's own are told apart by their path."""
        dataset, name = config["dataset"], config["dataset"]["name"]
        if dataset.get("root"):
            return Path(dataset["root"])
        if dataset.get("path"):
            name = f"{name}-{content_key(str(Path(dataset['path']).resolve()))[:8]}"
        return Path(config["profile"]["data"]["prepared"]) / name

    def _manifest(self, root: Path, dataset: str) -> str:
        if root not in self._manifests:
            manifest = read_json(root / "manifest.json")
            if manifest is None and self.needs_data:
                raise UserError(
                    f"{root}: holds no prepared data set; run `mm3d prepare dataset={dataset} "
                    f"--profile {self.profile}` first, or say where it lies: dataset.root=FOLDER"
                )
            if manifest is not None and manifest.get("dataset", dataset) != dataset:
                raise UserError(f"{root}: holds {manifest['dataset']}, not {dataset}")
            self._manifests[root] = content_key(manifest) if manifest is not None else ""
            self._left_out[root] = left_out_note(root.name, manifest or {})
            origin = (manifest or {}).get("origin")
            if isinstance(origin, Mapping) and origin.get("kind"):
                self._origins[str((manifest or {}).get("dataset"))] = str(origin["kind"])
        return self._manifests[root]

    def _lists(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Key -> hash of the lists that a fine-tuning follows: other content under an old name is another run."""
        hashes = {}
        for key in LISTS:
            path = (config.get("protocol") or {}).get(key.removeprefix("protocol."))
            try:
                hashes |= {key: hashlib.sha256(Path(path).read_bytes()).hexdigest()[:KEY_LENGTH]} if path else {}
            except OSError as error:
                if self.needs_data:
                    raise UserError(f"{key}={path}: cannot be read ({error.strerror}); correct the path") from error
        return hashes

    def _check_targets(self, config: dict[str, Any]) -> None:
        for section in ("backbone", "pretrain", "recipe", "evaluation", "dataset"):
            text = json.dumps(config.get(section), sort_keys=True)
            if text not in self._checked:
                check_targets(config.get(section) or {}, section)
                self._checked.add(text)


def _own_of(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a profile sets for a sweep, by dotted key. Raises UserError: no mappings."""
    every = settings.get("sweeps") or {}
    own = (every.get(name) or {}) if isinstance(every, Mapping) else None
    if not isinstance(own, Mapping):
        raise UserError(f"profile {settings['name']}: write `sweeps: {{{name}: {{key: value}}}}`, not {every!r:.80}")
    return own


def _with_own(cell: Cell, own: Mapping[str, Any]) -> Cell:
    """The cell with what the profile sets for its sweep; what the row itself says stands."""
    return replace(cell, request=replace(cell.request, overrides={**own, **cell.request.overrides}))


def check_fairness(sweep: Sweep, cells: Sequence[Cell], chains: Sequence[Mapping[str, RunSpec]]) -> None:
    """Rows that are compared differ in the table's axis and in nothing else.

    Raises:
        UserError: naming both rows and the keys in which they differ.
    """
    if sweep.table is None:
        return
    axis = sweep.table.axis
    by_cell = {(cell.row, cell.seed): chain for cell, chain in zip(cells, chains, strict=True)}
    for (row, seed), own in by_cell.items():
        base = sweep.table.baseline(row)
        other = by_cell.get((base, seed)) if base is not None else None
        strange = [] if other is None else [key for key in _differences(own, other) if not _on(axis, key)]
        if strange:
            raise UserError(
                f"{sweep.path}: row {row!r} is compared with {base!r} on {', '.join(axis)}, but they also "
                f"differ in "
                f"{', '.join(strange[:4])}; make these equal, or name them in table.axis"
            )


def _differences(own: Mapping[str, RunSpec], other: Mapping[str, RunSpec]) -> list[str]:
    """Dotted keys in which two chains of runs differ.

    A pre-training that only one has is the difference ``pretrain``.
    """
    found: set[str] = set()
    for kind in KINDS:
        if (kind in own) != (kind in other):
            found.add("pretrain" if kind == "pretrain" else "kind")
        elif kind in own:
            mine, theirs = flatten(own[kind].config), flatten(other[kind].config)
            names = mine.keys() | theirs.keys()
            if is_given(own[kind].config) or is_given(other[kind].config):  # weights come with no recipe and no data
                names = {*(mine.keys() & theirs.keys()), "pretrain.name"}
            found |= {key for key in names if mine.get(key) != theirs.get(key)}
    return sorted(found)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        flat.update(flatten(value, key) if isinstance(value, Mapping) and value else {key: value})
    return flat


def _on(axis: Sequence[str], key: str) -> bool:
    return any(key == part or key.startswith(f"{part}.") for part in axis)


def _plan_file(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if value is None:
        raise UserError(f"{path}: missing or damaged; run `mm3d plan` first")
    return value
