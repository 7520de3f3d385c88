"""A sweep file: which runs fill one table or figure, and how that is laid out. Nobody else reads these files.

runs:
  kind: evaluate                      # or pretrain, finetune: what a cell of the table shows
  base: {dataset: s3dis, ...}         # group choices and dotted overrides that all rows share
  each:                               # the rows, and what sets each apart
    - {row: scratch, pretrain: none}
  cross: {seed: profile}              # every combination; `profile` stands for the profile's seeds
table: {columns: [...], axis: pretrain, baseline: scratch, ...}     # see table_spec
figure: {kind: curve, x: protocol.scenes, series: pretrain}         # see figure_spec; only where one is drawn
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.figure_spec import FigureSpec, parse_figure
from mm3d_benchmarks.planning.request import Request, split_request
from mm3d_benchmarks.planning.strictness import did_you_mean
from mm3d_benchmarks.planning.table_spec import TableSpec, parse_table
from mm3d_benchmarks.store.spec import KINDS, merge
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml

_RUN_KEYS = {"kind", "base", "each", "cross"}


@dataclass(frozen=True)
class Cell:
    """One row with one seed: the request for its last run; earlier runs follow from it."""

    sweep: str
    row: str
    seed: int
    request: Request

    @property
    def name(self) -> str:
        """``sweep/row/seed``, for messages."""
        return f"{self.sweep}/{self.row}/{self.seed}"


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        name: the file's name without ``.yaml``.
        kind: the kind of run that fills the table.
        table: its table, if it has one.
        figure: what is drawn from it, if anything is.
    """

    name: str
    path: Path
    kind: str
    runs: Mapping[str, Any]
    table: TableSpec | None = None
    figure: FigureSpec | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns."""
        return self.table.columns if self.table else ()

    def cells(self, profile: str, seeds: list[int], folders: tuple[Path, ...] = ()) -> list[Cell]:
        """All cells under a profile.

        Raises:
            UserError: two cells that fill the same row with the same seed.
        """
        cells: dict[tuple[str, int], Cell] = {}
        for values in self._combinations(seeds):
            row, seed = str(values.pop("row")), values.get("seed", 0)
            if not isinstance(seed, int):
                raise UserError(f"{self.path}: seed {seed!r} is not a number; write a list of numbers, or `profile`")
            request = split_request({**values, "profile": profile, "seed": seed}, folders)
            if (row, seed) in cells:
                raise UserError(
                    f"{self.path}: two runs fill row {row!r} with seed {seed}; give each row a label of its own"
                )
            cells[row, seed] = Cell(self.name, row, seed, request)
        return list(cells.values())

    def _combinations(self, seeds: list[int]) -> Iterator[dict[str, Any]]:
        base, cross = self.runs.get("base") or {}, self.runs.get("cross") or {}
        entries = self.runs.get("each") or [{}]
        for part in (base, cross, *entries):
            if not isinstance(part, Mapping) or not all(isinstance(name, str) for name in part):
                raise UserError(f"{self.path}: base, cross and each entry of each are mappings, not {str(part)[:100]}")
        cross = dict(cross)
        if cross.get("seed") == "profile":
            cross["seed"] = seeds
        for name, values in cross.items():
            if not isinstance(values, list) or not values:
                raise UserError(f"{self.path}: cross.{name} must be a list with at least one entry")
        for entry in entries:
            for combination in itertools.product(*cross.values()):
                values = merge(merge({}, base), entry)
                values.update(zip(cross, combination, strict=True))
                if "row" not in values:
                    raise UserError(
                        f"{self.path}: an entry of runs.each has no `row`; name the table row that it fills"
                    )
                yield values


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UserError: not YAML, not a sweep, or whatever is wrong with its table or figure.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", path.stem):
        raise UserError(f"{path}: becomes a table's name; name it with letters, digits, '_', '-' and '.' only")
    text = _read(path)
    unknown = set(text) - {"runs", "table", "figure"}
    runs, table, figure = text.get("runs"), text.get("table"), text.get("figure")
    if unknown or not isinstance(runs, dict) or not all(isinstance(part or {}, dict) for part in (table, figure)):
        raise UserError(f"{path}: a sweep has `runs`, `table` and `figure`{_named(unknown)}; see docs/add_a_table.md")
    strange = set(runs) - _RUN_KEYS
    if strange or not isinstance(runs.get("each") or [], list):
        raise UserError(f"{path}: runs takes {', '.join(sorted(_RUN_KEYS))}{_named(strange)}")
    kind = str(runs.get("kind", "evaluate"))
    if kind not in KINDS:
        raise UserError(f"{path}: runs.kind={kind}; choose one of {', '.join(KINDS)}")
    return Sweep(
        path.stem, path, kind, runs,
        None if table is None else parse_table(path, table, _run_rows(path, runs)),
        None if figure is None else parse_figure(path, figure),
    )  # fmt: skip


def load_sweeps(folder: Path | None = None) -> list[Sweep]:
    """All sweeps of a folder, by name; without one, of :func:`sweeps_folder`.

    Raises:
        UserError: the folder is missing, or a file is not a sweep.
    """
    folder = folder or sweeps_folder()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pass the folder that holds the sweep files")
    return [load_sweep(path) for path in sorted(folder.glob("*.yaml"))]


def sweeps_folder() -> Path:
    """``sweeps`` in the current folder, else the paper's sweeps in the installed package.

    Raises:
        UserError: neither is there.
    """
    places = _places()
    if not places:
        raise UserError(
            "no sweep files: they are looked for in ./sweeps and in the installed package mm3d_benchmarks, and "
            "neither has any; go to the repository's folder, or name a file"
        )
    return places[0]


def _places() -> list[Path]:
    """Folders with sweeps: the current one's, then those in the wheel, or of an editable install's clone."""
    code = Path(__file__).resolve()
    inside = (code.parents[1] / "sweeps", code.parents[4] / "sweeps")
    found = {folder.resolve(): folder for folder in (*inside[::-1], Path("sweeps")) if any(folder.glob("*.yaml"))}
    return list(found.values())[::-1]


def find_sweeps(names: list[str], folder: Path | None = None) -> list[Path]:
    """Files for names such as ``table_07`` (the beginning of a name), ``sweeps/table_07_x.yaml`` or nothing (all).

    Args:
        folder: where to look; by default in ``sweeps`` and then among the installed ones.

    Raises:
        UserError: a name that matches no file, or several, or no folder with sweeps.
    """
    places = [folder] if folder else [sweeps_folder(), *_places()[1:]]
    if not names:
        return sorted(places[0].glob("*.yaml"))
    known = {path.stem: path for place in reversed(places) for path in place.glob("*.yaml")}
    return [_file_of(name, known, places) for name in names]


def _file_of(name: str, known: Mapping[str, Path], places: list[Path]) -> Path:
    if Path(name).suffix in (".yaml", ".yml"):
        stems = []
        if Path(name).is_file():
            return Path(name)
    else:
        stems = [name] if name in known else sorted(stem for stem in known if stem.startswith(name))
        if len(stems) == 1:
            return known[stems[0]]
    where = " and ".join(map(str, places))
    wrong = f"{len(stems)} sweep files match" if stems else f"no such sweep{close_to(name, known)} (looked in {where})"
    raise UserError(f"{name}: {wrong}; choose one of {', '.join(stems or sorted(known)) or f'nothing in {where}'}")


def close_to(name: str, known: Iterable[str]) -> str:
    """A clause that names the sweep which was probably meant: ``table_7`` is ``table_07``."""
    short = {"_".join(stem.split("_")[:2]) for stem in known if re.match(r"(table|figure)_", stem)}
    plain = re.sub(r"[\s-]+", "_", Path(name).stem.lower())
    numbered = re.sub(r"^(table|figure)_?0*(\d+)$", lambda found: f"{found[1]}_{int(found[2]):02d}", plain)
    return did_you_mean(numbered, [numbered] if numbered in short else sorted({*short, *known}))


def _run_rows(path: Path, runs: Mapping[str, Any]) -> list[str]:
    """The labels of the rows that runs fill."""
    try:
        crossed = (runs.get("cross") or {}).get("row", [])
        return [*(str(e["row"]) for e in runs.get("each") or [] if "row" in e), *map(str, crossed)]
    except (AttributeError, TypeError) as error:
        raise UserError(f"{path}: not in the shape that docs/add_a_table.md describes ({error!r})") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such sweep file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); correct the file") from error
    if not isinstance(text, dict):
        raise UserError(f"{path}: a sweep is a mapping with `runs` and `table`")
    return text


def _named(keys: set[Any]) -> str:
    return f", not {', '.join(sorted(map(str, keys)))}" if keys else ""
