"""Pictures that runs leave behind: every ``.npz`` in a run's folder, or one folder below it.

Arrays are told by name; a file may hold any of them (N points of a scan; metres, z up):

    coord (or scan)                       (N, 3)  the scan
    color (or scan_color)                 (N, 3)  in [0, 1], or 0..255
    statistic                             (N,)    the local statistic that guides the mask
    input, target                         (n, 3)  what the student sees, and what it shall rebuild; ``*_color`` optional
    reconstruction                        (k, 3)  what it rebuilt; else the finest ``reconstruction_level<l>``
    kept (or ladder_kept)                 (R, N)  bool, points kept at R keep ratios, largest first
    segment, prediction                   (N,)    integer labels, -1 = none
    class_names                           (C,)    text, optional

A file with ``reconstruction`` serves Figure 8, with ``statistic`` Figure 2, with ``input`` or ``kept`` Figure 7, with
``segment`` and ``prediction`` Figure 6, and each with ``coord`` the viewer of the page. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.arrays import read_archive
from mm3d_benchmarks.store.layout import upstreams
from mm3d_core.errors import UserError

_ALIASES = {
    "scan": "coord",
    "scan_color": "color",
    "ladder_kept": "kept",
    "ladder_ratios": "ratios",
}
_POINTS = ("coord", "color", "input", "target", "reconstruction", "masked")
_PER_POINT = ("color", "statistic", "segment", "prediction")
LIMIT = 64 * 2**20  # bytes of one file; a picture of a scan is a few MB


@dataclass(frozen=True)
class Artefact:
    """One file of one run.

    Attributes:
        run: key of the run.
        label: the row of the sweep that the run fills.
        name: file name without ending.
        arrays: by the names of the module's text; checked for shape, all finite.
    """

    run: str
    label: str
    name: str
    arrays: Mapping[str, np.ndarray]

    def has(self, *names: str) -> bool:
        """Whether all the arrays are there."""
        return all(name in self.arrays for name in names)

    def class_names(self) -> list[str]:
        """Names of the classes; empty when the file does not tell."""
        return [str(name) for name in self.arrays.get("class_names", [])]


def find_artefacts(
    store: Path, runs: Mapping[str, str], problems: list[str], limit: int | None = None
) -> list[Artefact]:
    """The artefacts of the given runs and of the runs they start from, in a fixed order.

    Args:
        runs: key to label.
        problems: unreadable files are named here and passed over.
        limit: stop after so many, for memory.
    """
    labels: dict[str, str] = {}
    for key, label in runs.items():
        for ancestor in (key, *upstreams(store, key)):
            labels.setdefault(ancestor, label)
    found = []
    for key, label in labels.items():
        for path in _files(store / key):
            if limit is not None and len(found) >= limit:
                return found
            try:
                arrays = load_arrays(path)
                if "coord" in arrays or "target" in arrays:
                    found.append(Artefact(key, label, path.stem, arrays))
            except UserError as error:
                problems.append(str(error))
    return found


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one file, under the names of the module's text.

    Raises:
        UserError: unreadable, too large, of the wrong shape, or not finite.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise UserError(f"{path}: larger than {LIMIT >> 20} MiB; a picture holds one scan, sample it")
        found = read_archive(path, "biufU")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as arrays ({error}); run it again") from error
    arrays = {_ALIASES.get(name, name): found[name] for name in sorted(found)}
    levels = sorted(name for name in arrays if name.startswith("reconstruction_level"))
    if levels and "reconstruction" not in arrays:
        arrays["reconstruction"] = arrays[levels[0]]
    _check(path, arrays)
    if "color" in arrays:
        color = arrays["color"].astype(np.float32)
        arrays["color"] = np.clip(color / 255 if color.size and color.max() > 1.5 else color, 0, 1)
    return arrays


def _check(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    for name in _POINTS:
        if name in arrays and (arrays[name].ndim != 2 or arrays[name].shape[1] != 3):
            raise UserError(f"{path}: {name} must be (N, 3), not {arrays[name].shape}")
    rows = len(arrays["coord"]) if "coord" in arrays else None
    for name in _PER_POINT:
        if name in arrays and len(arrays[name]) != rows:
            raise UserError(f"{path}: {name} has {len(arrays[name])} rows, coord has {rows}")
    if "kept" in arrays and (arrays["kept"].ndim != 2 or arrays["kept"].shape[1] != rows):
        raise UserError(f"{path}: kept must be (R, N) with N = {rows}, not {arrays['kept'].shape}")
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise UserError(f"{path}: {name} is not finite; the run that made it diverged")


def _files(folder: Path) -> Iterable[Path]:
    return sorted([*folder.glob("*.npz"), *folder.glob("*/*.npz")])


def subsample(count: int, limit: int) -> np.ndarray:
    """(min(count, limit),) row numbers, increasing, the same on every call: a fixed permutation cut at the limit."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:limit])
