"""A user's own scans: a folder of scan files of any format, one scene each; labels of their own where they have them.

Which files are scans: ``scans/discover.py``. How one is read: ``scans/scan.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import ReadScene
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import read_scan
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError


def facts() -> DatasetFacts:
    """Unlabelled scans: no classes."""
    return DatasetFacts(name="folder")


class FolderReader:
    """Reads a folder of scans (searched to any depth), or one file.

    Args:
        raw: the folder or file.
        columns, up, scale, color_range: see :class:`~mm3d_benchmarks.datasets.scans.options.ScanOptions`.
        formats: see :func:`~mm3d_benchmarks.datasets.scans.discover.find_scans`.
        validation: every n-th scene goes to ``val`` too (0: none).

    Raises:
        UserError: no scan in the folder, or an option is not one of the above.
    """

    def __init__(
        self,
        raw: Path,
        columns: str = "",
        up: Any = "z",
        scale: float = 1.0,
        color_range: float | None = None,
        formats: str = "auto",
        validation: int = 0,
    ) -> None:
        self.raw = Path(raw)
        self.facts = facts()
        self.scans = ScanOptions.of(columns, up, scale, color_range)
        self.options: dict[str, Any] = dict(self.scans.given)
        if not isinstance(validation, int) or isinstance(validation, bool) or validation < 0:
            raise UserError(f"validation={validation}: is a whole number, 0 for no validation scene")
        self.validation = validation
        found = find_scans(self.raw, str(formats))
        self.files, self._notes = found.files, found.notes

    def splits(self) -> dict[str, list[str]]:
        """All scans are ``train``; ``val`` is every n-th of them if asked for."""
        names = list(self.files)
        return {"train": names, "val": names[:: self.validation] if self.validation else []}

    def source_files(self, name: str) -> list[Path]:
        """The scan's file, or the arrays of its folder."""
        path = self.files[name]
        return sorted(file for file in path.glob("*.npy") if not file.name.startswith(".")) if path.is_dir() else [path]

    def shared_files(self, name: str) -> list[Path]:
        """None."""
        del name
        return []

    def notes(self) -> list[str]:
        """Files that are no scans."""
        return self._notes

    def read(self, name: str) -> ReadScene:
        """One scan, moved to an origin of its own where it lies far out."""
        scan = read_scan(self.files[name], self.scans)
        coord, offset = settle(scan.coord)
        remarks = list(scan.remarks)
        if any(offset):
            remarks.append(
                f"far from the origin: {' '.join(f'{v:.0f}' for v in offset)} m subtracted, kept as its offset"
            )
        return ReadScene(Scene(name, coord, scan.color, scan.normal, offset=offset), remarks)
