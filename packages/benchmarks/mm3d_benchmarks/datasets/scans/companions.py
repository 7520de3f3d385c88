"""Further files that a mesh is read with: materials, textures, buffers."""

from __future__ import annotations

import json
import re
from pathlib import Path


def companions(path: Path) -> list[Path]:
    """Files beside a mesh that it names and that are there: an OBJ's materials and their pictures, a glTF's buffers."""
    suffix = path.suffix.lower()
    if suffix == ".obj":
        libraries = _named(path, rb"(?m)^mtllib[ \t]+(.+?)\s*$")
        return sorted({*libraries, *(f for lib in libraries for f in _named(lib, rb"(?m)^\s*map_\w+[ \t]+(.+?)\s*$"))})
    if suffix == ".gltf":
        try:
            value = json.loads(path.read_bytes())
            parts = [*value.get("buffers", []), *value.get("images", [])]
            uris = [part.get("uri", "") for part in parts]
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return []
        return sorted(
            {path.parent / u for u in uris if isinstance(u, str) and _inside(u) and (path.parent / u).is_file()}
        )
    return []


def _named(path: Path, pattern: bytes) -> list[Path]:
    try:
        words = re.findall(pattern, path.read_bytes())
    except OSError:
        return []
    names = {word.decode("utf-8", "replace") for word in words}
    names |= {name.split()[-1] for name in names if name.split()}
    return sorted(path.parent / name for name in names if _inside(name) and (path.parent / name).is_file())


def _inside(name: str) -> bool:
    return (
        bool(name)
        and len(name) < 200
        and ".." not in Path(name).parts
        and not Path(name).is_absolute()
        and ":" not in name
    )
