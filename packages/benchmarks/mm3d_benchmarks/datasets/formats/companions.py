"""Further files that a mesh is read with: materials, textures, buffers; what is hashed is what is read."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from PIL import Image

from mm3d_core.files.untrusted import parse_json

HEAD = 2**16  # bytes of a PLY that may name a texture
PICTURE = {".png", ".jpg", ".jpeg", ".bmp", ".tga", ".tif", ".tiff", ".gif", ".webp"}


def companions(path: Path) -> list[Path]:
    """Files that a mesh names and that are there: an OBJ's materials and textures, a glTF's buffers, a PLY's."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".obj":
            libraries = _all(path, rb"(?m)^[ \t]*mtllib[ \t]+(.+?)\s*$", path.read_bytes())
            pictures = [_all(lib, rb"(?mi)^[ \t]*map_kd[ \t]+(.+?)\s*$", lib.read_bytes()) for lib in libraries]
            return sorted({*libraries, *(found for some in pictures for found in some)})
        if suffix == ".ply":
            with open(path, "rb") as stream:
                return sorted(_all(path, rb"(?m)^comment TextureFile[ \t]+(.+?)\s*$", stream.read(HEAD)))
        if suffix == ".gltf":
            value = parse_json(path.read_bytes())
            uris = [part.get("uri") for part in [*value.get("buffers", []), *value.get("images", [])]]
            return sorted({found for uri in uris if isinstance(uri, str) and (found := find_named(path.parent, uri))})
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []  # said when it is read
    return []


def find_named(folder: Path, name: str) -> Path | None:
    """The file that a mesh in ``folder`` means by a name, as programs of any system write it; None where it is missing.

    Backslashes, options before the name (``-s 1 1 1``), percent signs of an address, and absolute paths of the machine
    that wrote it, for which the file of that name beside the mesh stands in.
    """
    words = name.split()
    tries = [name.strip(), unquote(name.strip()), *(words[-1:] if len(words) > 1 else [])]
    for text in tries:
        plain = PureWindowsPath(text)  # knows both kinds of slash
        if not text or len(text) > 1000 or "\0" in text or text.startswith("data:") or not plain.name:
            continue
        near = [] if plain.is_absolute() or plain.drive or plain.root else [folder.joinpath(*plain.parts)]
        for found in (*near, folder / plain.name):
            try:
                if found.is_file():
                    return Path(os.path.normpath(found))
            except OSError:  # a name longer than any file's
                continue
    return None


class BesideMesh:
    """What trimesh asks for a mesh's further files; serves those of :func:`companions` and no others.

    Attributes:
        lost: files that the mesh names and that are not there, and pictures that are none.
    """

    def __init__(self, path: Path) -> None:
        self.file_name = path.name
        self.lost: list[str] = []
        self._folder = path.parent

    def get(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError where it is lost."""
        found = find_named(self._folder, name)
        content = None if found is None else found.read_bytes()
        picture = Path(name.strip()).suffix.lower() in PICTURE
        if content is None or (picture and not _is_picture(content)):
            self.lost.append(PureWindowsPath(name.strip()).name)
            raise FileNotFoundError(name)
        return content

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)

    def __contains__(self, name: str) -> bool:
        return find_named(self._folder, name) is not None

    def keys(self) -> list[str]:
        """No list: files are asked for by name."""
        return []

    def namespaced(self, namespace: str) -> BesideMesh:
        """The same files: names are never of another place."""
        del namespace
        return self

    def write(self, name: str, data: bytes) -> None:
        """Nothing is ever written."""
        raise PermissionError(name)


def _all(path: Path, pattern: bytes, text: bytes) -> set[Path]:
    """Every file that ``text`` names; a line may name several materials."""
    lines = {word.decode("utf-8", "replace") for word in re.findall(pattern, text)}
    names = lines | {word for line in lines if line.lower().count(".mtl") > 1 for word in line.split()}
    return {found for name in names if (found := find_named(path.parent, name))}


def _is_picture(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # Pillow raises errors of many kinds on damaged bytes
        return False
    return True
