"""What is missing of a downloaded release, with counts, before anything is read: ``mm3d prepare --check-raw``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mm3d_benchmarks.datasets.formats.placeholder import what_it_is
from mm3d_benchmarks.datasets.readers import s3dis, scannet, sunrgbd_meta
from mm3d_benchmarks.datasets.readers.base import Reader
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError

ROOMS = {"Area_1": 44, "Area_2": 40, "Area_3": 23, "Area_4": 49, "Area_5": 68, "Area_6": 48}  # of S3DIS v1.2
NAMED = 3  # examples of a line


def check_raw(dataset: str, raw: Path, make_reader: object) -> list[str]:
    """Sentences on what is missing, empty when nothing is.

    Args:
        make_reader: called without arguments; the reader, once the files for all scenes are there.

    Raises:
        UserError: the folder itself is not there.
    """
    if not raw.is_dir():
        raise UserError(f"{raw}: not found; raw must be the folder of the raw {dataset} data")
    shared = {"scannet": _scannet_shared, "s3dis": _s3dis_shared, "sunrgbd": _sunrgbd_shared}.get(dataset)
    missing = shared(raw) if shared else []
    try:
        reader: Reader = make_reader()  # type: ignore[operator]
        missing += _scenes(reader, raw)
    except UserError as error:
        if str(error) not in missing and not missing:
            missing.append(str(error))
    return missing


def _scenes(reader: Reader, raw: Path) -> list[str]:
    """Missing files of the scenes, by split and kind of file."""
    lines = []
    seen: set[str] = set()
    for split, names in sorted(reader.splits().items(), key=lambda item: item[0] not in ("train", "val", "test")):
        fresh = [name for name in names if name not in seen]
        seen |= set(fresh)
        lost: dict[str, list[str]] = {}
        for name in fresh:
            try:
                files = reader.source_files(name)
            except UserError:
                lost.setdefault("folder", []).append(name)
                continue
            gone = [path for path in files if not path.is_file()]
            if len(gone) == len(files):
                lost.setdefault("everything", []).append(name)
                continue
            for path in gone:
                lost.setdefault(_kind(path, name), []).append(name)
            for path in files:
                if path.is_file() and (path.stat().st_size == 0 or (path.stat().st_size < 2000 and what_it_is(path))):
                    lost.setdefault(f"content of {_kind(path, name)}", []).append(name)
        lines += [f"{split}: {_counted(kept, len(names))} without {kind}" for kind, kept in sorted(lost.items())]
    return lines


def _kind(path: Path, name: str) -> str:
    """What kind of file it is: its name without the scene's; of images the folder."""
    return path.name.replace(name, "*") if path.name.startswith(name) else f"{path.parent.name}/*{path.suffix}"


def _counted(names: list[str], total: int) -> str:
    rest = len(names) - NAMED
    return f"{len(names)} of {total} scenes ({', '.join(names[:NAMED])}{f' and {rest} more' if rest > 0 else ''})"


def _scannet_shared(raw: Path) -> list[str]:
    if not (raw / "scans").is_dir() and glob_visible(
        raw, "*_vert.npy", "*/*_vert.npy", "*/*/coord.npy", "*.pth", "*/*.pth", "points"
    ):
        return []  # a processed form
    missing = [] if (raw / "scans").is_dir() else [f"{raw / 'scans'}: the folder of the labelled scans"]
    for file in (scannet.LABEL_TABLE, "scannetv2_train.txt", "scannetv2_val.txt"):
        if not glob_visible(raw, file, f"*/{file}", f"*/*/{file}"):
            missing.append(f"{raw / file}: not found here or one or two folders below")
    return missing


def _s3dis_shared(raw: Path) -> list[str]:
    missing = []
    for area, count in ROOMS.items():
        rooms = [path for path in glob_visible(raw, f"{area}/*") if path.is_dir()]
        bare = [
            path.name for path in rooms if not (path / "Annotations").is_dir() and not (path / "coord.npy").exists()
        ]
        if not (raw / area).is_dir():
            missing.append(f"{area}: not there ({count} rooms)")
        elif len(rooms) < count:
            missing.append(f"{area}: {len(rooms)} of {count} rooms")
        if bare:
            missing.append(f"{area}: {_counted(bare, len(rooms))} without Annotations".replace("scenes", "rooms"))
    strange = s3dis.area_notes(raw)
    return missing + [line for line in strange if "no areas of the release" in line]


def _sunrgbd_shared(raw: Path) -> list[str]:
    missing = [] if (raw / "SUNRGBD").is_dir() else [f"{raw / 'SUNRGBD'}: SUNRGBD.zip, unpacked"]
    for file in (sunrgbd_meta.V2_BOXES, sunrgbd_meta.V1_BOXES, sunrgbd_meta.SPLIT):
        try:
            sunrgbd_meta.find(raw, file)
        except UserError as error:
            missing.append(re.sub(r"; it comes.*", "", str(error)))
    return missing


def report(dataset: str, raw: Path, missing: Iterable[str]) -> list[str]:
    """The lines that the command prints."""
    lines = list(missing)
    return [
        f"{raw}: {'nothing is missing of' if not lines else 'missing of'} {dataset}",
        *(f"  {line}" for line in lines),
    ]
