"""Group files without Hydra: the same meaning, a hundred times faster.

Composing by Hydra costs tens of milliseconds of Python for each choice, most of it for Hydra's own settings. Our group
files use one of its features: ``defaults: [parent, _self_]`` within a group. That much is read here; a file that uses
more is left to Hydra (``compose.py``), and a test holds both against each other on every file there is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_yaml


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Hydra reads it: ``1e-3`` is a number, and dates are words."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in known
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
    ]
    for first, known in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)"
        r"|\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def read_group(group: str, choice: str, folders: Sequence[Path]) -> dict[str, Any] | None:
    """The unresolved content of a group file, its parents included, or None where only Hydra knows.

    Raises:
        UserError: not YAML, or a circle of parents.
    """
    return _read(group, choice, tuple(folders), ())


def _read(group: str, choice: str, folders: tuple[Path, ...], below: tuple[str, ...]) -> dict[str, Any] | None:
    if choice in below:
        raise UserError(
            f"{group}/{choice}.yaml: is its own parent ({' -> '.join([*below, choice])}); correct its defaults list"
        )
    path = next((found for folder in folders if (found := folder / group / f"{choice}.yaml").is_file()), None)
    if path is None:
        return None
    content = _parse(path, path.stat().st_mtime_ns)
    if content is None:
        return None
    content = copy.deepcopy(content)
    merged: dict[str, Any] = {}
    defaults = content.pop("defaults", [])
    if "_self_" not in defaults:
        defaults = [*defaults, "_self_"]
    for entry in defaults:
        part = content if entry == "_self_" else _read(group, entry, folders, (*below, choice))
        if part is None:
            return None
        _merge(merged, part)
    return merged


@cache
def _parse(path: Path, _: int) -> dict[str, Any] | None:
    """A file's content; None if it uses a feature that is not known here."""
    try:
        text = path.read_text(encoding="utf-8")
        if "@package" in text:
            return None
        content = parse_yaml(text, _Loader)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        return None
    defaults = content.get("defaults", [])
    if not isinstance(defaults, list) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path}: a group file is a mapping of names, with a list `defaults` if there is one")
    if not isinstance(content.get("name", ""), str | int):
        raise UserError(f"{path}: `name` is a word")
    plain = all(isinstance(entry, str) and re.fullmatch(r"\w+", entry) for entry in defaults)
    return content if plain else None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    """As OmegaConf: mappings are merged, everything else replaces."""
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        else:
            base[name] = value
