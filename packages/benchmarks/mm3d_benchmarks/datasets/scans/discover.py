"""Which files of a folder are scans, and what of it is passed over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.datasets.formats.companions import companions
from mm3d_benchmarks.datasets.formats.placeholder import what_it_is
from mm3d_benchmarks.datasets.scans.loaders import FORMATS, MORE_FORMATS
from mm3d_benchmarks.datasets.scans.names import scene_names
from mm3d_benchmarks.datasets.visible import is_hidden, own_output, walk
from mm3d_core.errors import UserError

NATIVE = (".ply", ".pcd", ".npy", ".npz", ".bin")  # read wherever they lie
OTHERS = {
    ".zip": "unpack it", ".7z": "unpack it", ".rar": "unpack it", ".gz": "unpack it", ".tgz": "unpack it",
    ".fbx": "export it as .glb or .ply", ".dae": "export it as .glb or .ply", ".usdz": "export it as .glb or .ply",
    ".usd": "export it as .glb or .ply", ".3ds": "export it as .glb or .ply", ".ifc": "export it as .glb or .ply",
    ".rcp": "export it as .e57", ".rcs": "export it as .e57", ".fls": "export it as .e57", ".ptx": "export it as .e57",
    ".splat": "export it as .ply", ".spz": "export it as .ply", ".ksplat": "export it as .ply",
    ".pth": "write its arrays as .npy (those of ScanNet and S3DIS: dataset=scannet, dataset=s3dis)",
    ".pt": "write its arrays as .npy",
    ".h5": "write its arrays as .npy", ".hdf5": "write its arrays as .npy", ".mat": "write its arrays as .npy",
    ".bag": "export its clouds as .pcd", ".db3": "export its clouds as .pcd", ".drc": "export it as .ply",
}  # fmt: skip  # scans of formats that are not read, and the way to one that is
MESHES = (".obj", ".gltf")  # whose further files are no scans of their own
NAMED = 3  # files of a sentence
PART = "coord.npy"  # in a folder of arrays, which is one scan


@dataclass(frozen=True)
class Scans:
    """The scans of a folder.

    Attributes:
        files: scene name -> file, or folder of arrays.
        notes: what was passed over, one sentence each.
    """

    files: dict[str, Path]
    notes: list[str]


def find_scans(raw: Path, formats: str = "auto") -> Scans:
    """The scans in a folder (of any depth; linked folders are followed), or the one file that ``raw`` is.

    Args:
        formats: ``auto`` reads ``.ply .pcd .npy .npz .bin`` and folders of arrays, or, where there are none of them,
            every format that is known; ``all`` every format in any case; or suffixes separated by blanks.

    Raises:
        UserError: nothing to read, with what is there and how to convert it.
    """
    wanted = _suffixes(formats)
    if raw.is_file():
        _refuse_unreadable(raw)
        return Scans(scene_names([raw], raw.parent), [])
    if (what := own_output(raw)) in ("prepared scenes", "a prepared scene"):
        raise UserError(f"{raw}: holds {what} already, no raw scans; name the folder of the scans themselves")
    found = walk(raw)
    groups = {path.parent for path in found.files if path.name == PART and _is_group(path.parent)}
    beside = {part for path in found.files if path.suffix.lower() in MESHES for part in companions(path)}
    single = [
        path
        for path in found.files
        if path not in beside and (path.parent not in groups or path.suffix.lower() != ".npy")
    ]
    suffixes = Counter(path.suffix.lower() for path in single)
    native = bool(groups) or any(suffixes[suffix] for suffix in NATIVE)
    chosen = wanted or (set(NATIVE) if native else set(FORMATS))
    paths = [path for path in single if path.suffix.lower() in chosen and _worth(path, native or wanted)]
    notes = _passed(found.passed, single, set(paths), bool(wanted) or not native)
    if not paths and not groups:
        raise UserError(
            f"{raw}: no scan in it; put {' '.join(FORMATS)} files there{''.join('; ' + note for note in notes)}"
        )
    return Scans(scene_names(sorted([*paths, *groups], key=lambda p: str(p.relative_to(raw))), raw), notes)


def _suffixes(formats: str) -> set[str]:
    words = {word if word.startswith(".") else f".{word}" for word in formats.lower().replace(",", " ").split()}
    if words == {".auto"}:
        return set()
    if words == {".all"}:
        return set(FORMATS)
    if not words or words - set(FORMATS):
        raise UserError(f"formats={formats!r}: is auto, all, or some of {' '.join(s[1:] for s in FORMATS)}")
    return words


def _refuse_unreadable(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        way = OTHERS.get(suffix, "convert it to .ply")
        raise UserError(
            f"{path}: {suffix or 'a file without suffix'} is not read; {way} (read are {' '.join(FORMATS)})"
        )


def _is_group(folder: Path) -> bool:
    """Whether a folder with a ``coord.npy`` is one scan of several arrays."""
    return any(path.name != PART and not is_hidden(path.name) for path in folder.glob("*.npy"))


def _worth(path: Path, certain: object) -> bool:
    """Text files among scans may be notes and lists: those that hold no numbers are none of the scans.

    A pointer or a web page in place of one is taken, so that its reading says what it is.
    """
    looks = MORE_FORMATS.get(path.suffix.lower())
    return bool(certain and path.suffix.lower() in NATIVE) or looks is None or looks(path) or bool(what_it_is(path))


def _passed(hidden: Counter[str], files: list[Path], used: set[Path], all_read: bool) -> list[str]:
    """Sentences on what is no scan here: other formats with the way to read them, hidden things, own outputs."""
    others = Counter(path.suffix.lower() for path in files if path not in used)
    readable = {suffix: n for suffix, n in others.items() if suffix in FORMATS}
    convert = {suffix: n for suffix, n in others.items() if suffix in OTHERS}
    notes = []
    if readable:
        way = "formats=all reads them too"
        if all_read:
            names = sorted(path.name for path in files if path not in used and path.suffix.lower() in readable)
            way = f"hold no table of numbers ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        notes.append(f"passed over: {_counted(readable)}; {way}")
    if convert:
        ways = "; ".join(sorted({f"{suffix}: {OTHERS[suffix]}" for suffix in convert}))
        notes.append(f"passed over: {_counted(convert)}; {ways}")
    rest = {
        suffix or "without suffix": n for suffix, n in others.items() if suffix not in FORMATS and suffix not in OTHERS
    }
    if rest:
        notes.append(f"passed over: {_counted(rest)} (no scans)")
    if hidden:
        notes.append(f"passed over: {', '.join(f'{n} {what}' for what, n in sorted(hidden.items()))}")
    return notes


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {suffix}" for suffix, n in sorted(counts.items()))
