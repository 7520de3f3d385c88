"""What somebody asks for: choices of group files, and values that differ from what stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GROUPS = ("backbone", "dataset", "pretrain", "recipe", "evaluation", "profile", "launcher")


@dataclass(frozen=True)
class Request:
    """What somebody asks for: choices of group files, and values that differ from them.

    Attributes:
        choices: group -> file name without ``.yaml``.
        overrides: dotted key -> value.
        folders: further folders with group files, searched before the package's own.
    """

    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()


def split_request(values: Mapping[str, Any], folders: tuple[Path, ...] = ()) -> Request:
    """Tell group choices from overrides: ``backbone: votenet`` chooses, ``backbone.encoder.radius: ...`` overrides."""
    choices = {key: str(value) for key, value in values.items() if key in GROUPS and not isinstance(value, Mapping)}
    rest: dict[str, Any] = {}
    for key, value in values.items():
        if key not in choices:
            dotted(key, value, rest)
    return Request(choices, rest, folders)


def dotted(key: str, value: Any, into: dict[str, Any]) -> None:
    """``{a: {b: 1}}`` as ``a.b: 1``; a mapping with a ``_target_`` replaces what was there."""
    if isinstance(value, Mapping) and value and "_target_" not in value:
        for name, inner in value.items():
            dotted(f"{key}.{name}", inner, into)
    else:
        into[key] = value
