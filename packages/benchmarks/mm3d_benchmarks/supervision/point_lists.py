"""Lists of labeled points that come with a benchmark, in place of points drawn by chance.

The data-efficient benchmark of ScanNet (facebookresearch/ContrastiveSceneContexts) publishes, for 20, 50, 100 and 200
points a scene, a file written by ``torch.save``: scene name -> rows of the vertices of the scan's
``_vh_clean_2.ply``. Prepared scenes keep every vertex in the order of the mesh, so these rows are rows of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.arrays import read_archive
from mm3d_benchmarks.datasets.formats.pthfile import load_pth
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json

FORMS = "give scene -> rows as .json, .npz, .txt (a line for each scene: its name, then rows) or as torch.save wrote it"


@dataclass(frozen=True, eq=False)
class ListedPoints:
    """Labels of the listed points of each scene, the others are ignored.

    Attributes:
        rows: scene -> (K,) int64 rows of the prepared scene.
        source: the file, for messages.
    """

    rows: Mapping[str, np.ndarray]
    source: str

    @classmethod
    def read(cls, path: Path) -> ListedPoints:
        """A list from its file; the form follows the name's ending, without a known one it is what torch wrote.

        Raises:
            UserError: missing, damaged or something else than scene -> whole numbers.
        """
        source = f"protocol.point_list={path}"
        try:
            content = _content(path)
            if not isinstance(content, Mapping) or not content:
                raise ValueError(f"holds {type(content).__name__}, not a list of rows for each scene")
            return cls({_name(scene): _rows(scene, rows) for scene, rows in content.items()}, source)
        except (OSError, ValueError, UserError) as error:
            raise UserError(f"{source}: cannot be used ({error}); {FORMS}") from error

    def check(self, points: Mapping[str, int]) -> None:
        """Hold the list against the scenes of a training.

        Args:
            points: scene -> number of its points.

        Raises:
            UserError: a scene that the list lacks, or a row that a scene does not have.
        """
        missing = [name for name in points if name not in self.rows]
        if missing:
            listed = next(iter(self.rows))
            raise UserError(
                f"{self.source}: lacks {len(missing)} of {len(points)} training scenes, {missing[0]} among them "
                f"(it has {listed}, say); take the list of this data set, or name its scenes in protocol.scene_list"
            )
        for name, count in points.items():
            largest = int(self.rows[name].max())
            if largest >= count:
                raise UserError(
                    f"{self.source}: row {largest} of {name}, which has {count} points; the list counts the vertices "
                    "of the raw meshes, so prepare the data set from the raw release"
                )

    def __call__(self, sample: Sample, num_points: int) -> Sample:
        """Applied to a sample read from a scene of ``num_points`` points."""
        if sample.segment is None:
            return sample
        self.check({sample.name: num_points})
        return replace(sample, segment=np.where(np.isin(sample.index, self.rows[sample.name]), sample.segment, -1))


def _content(path: Path) -> Any:
    """What the file holds; OSError, ValueError or UserError if nothing that can be read."""
    if path.suffix == ".json":
        return parse_json(path.read_bytes())
    if path.suffix == ".npz":
        return read_archive(path)
    if path.suffix == ".txt":
        lines = [line.replace(",", " ").split() for line in path.read_text(encoding="utf-8").splitlines()]
        found = {words[0]: [int(word) for word in words[1:]] for words in lines if words}
        if len(found) != sum(map(bool, lines)):
            raise ValueError("a scene has two lines")
        return found
    return load_pth(path)


def _name(scene: Any) -> str:
    if not isinstance(scene, str):
        raise ValueError(f"{str(scene)[:50]} is not the name of a scene")
    return scene


def _rows(scene: str, rows: Any) -> np.ndarray:
    """Sorted, each once."""
    try:
        array = np.asarray(rows)
    except (TypeError, RuntimeError, OverflowError) as error:  # tensors that numpy has no type for
        raise ValueError(f"{scene[:80]}: {error}") from error
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise ValueError(
            f"{scene[:80]}: {array.dtype} {array.shape}, but rows are a list of whole numbers, at least one"
        )
    array = np.unique(array.astype(np.int64))
    if array[0] < 0:
        raise ValueError(f"{scene[:80]}: row {array[0]}, but rows count from 0")
    return array
