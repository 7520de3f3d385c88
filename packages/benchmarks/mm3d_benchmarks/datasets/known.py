"""The data sets that this suite knows: their readers, their facts, and whether scenes in their format can be generated.

The one place that names a new data set, beside its reader and its config.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import MANIFEST, PreparedDataset
from mm3d_core.errors import UserError

_READERS = "mm3d_benchmarks.datasets.readers"


@dataclass(frozen=True)
class KnownDataset:
    """One data set.

    Attributes:
        readers: import paths below ``datasets.readers``; the first that recognizes a folder reads it, the official
            release's last.
        facts: import path, likewise, of the function that gives class names, splits and published numbers.
        generated: whether ``mm3d generate`` writes scenes in its raw format.
        own_classes: its classes stand in the manifest of what was prepared, and its facts are made from them.
    """

    readers: tuple[str, ...]
    facts: str
    generated: bool = False
    own_classes: bool = False


DATASETS = {
    "scannet": KnownDataset(
        (
            "processed.scannet.PointceptScanNet",
            "processed.scannet.VoteNetScanNet",
            "processed.scannet.MMDetScanNet",
            "processed.pth.PthScanNet",
            "scannet.ScanNetReader",
        ),
        "scannet.facts",
        generated=True,
    ),
    "s3dis": KnownDataset(
        (
            "processed.s3dis.PointceptS3DIS",
            "processed.s3dis.PostechS3DIS",
            "processed.s3dis.MMDetS3DIS",
            "processed.pth.PthS3DIS",
            "s3dis.S3DISReader",
        ),
        "s3dis.facts",
        generated=True,
    ),
    "sunrgbd": KnownDataset(
        (
            "processed.sunrgbd.VoteNetSunRgbd",
            "processed.sunrgbd.MMDetSunRgbd",
            "sunrgbd.SunRgbdReader",
        ),
        "sunrgbd.facts",
        generated=True,
    ),
    "folder": KnownDataset(
        ("folder.FolderReader",),
        "folder.facts",
        own_classes=True,
    ),
}


def reader_classes(name: str) -> list[Any]:
    """The readers of a known data set."""
    return [_found(path) for path in DATASETS[name].readers]


def facts_of(dataset: PreparedDataset) -> DatasetFacts:
    """Class names and published numbers of a prepared data set; of an unknown one nothing is known."""
    known = DATASETS.get(dataset.dataset)
    if known is None:
        return DatasetFacts(dataset.dataset)
    if not known.own_classes:
        return _found(known.facts)()
    try:
        return _found(known.facts)(dataset.manifest["classes"]["segmentation"])
    except (UserError, KeyError, TypeError, AttributeError) as error:
        where = dataset.root / MANIFEST
        raise UserError(f"{where}: damaged classes ({error}); delete it and prepare again") from error


def _found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"{_READERS}.{module}"), name)
