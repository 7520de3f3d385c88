"""JSON files that know whether they are whole: a checksum of the content beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_core.files.atomic import write_json
from mm3d_core.files.untrusted import parse_json

CHECKSUM = "checksum"


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value with its checksum, a SHA-256 of canonical JSON.

    Raises:
        ValueError: NaN or infinity.
    """
    plain = json.loads(json.dumps(value, allow_nan=False))
    plain.pop(CHECKSUM, None)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return {**plain, CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def unseal(value: Any, required: bool = True) -> dict[str, Any]:
    """The content of a sealed object, without the checksum.

    Args:
        required: False also takes an object that was written without one.

    Raises:
        ValueError: no object, or its content is not what was sealed.
    """
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if (required or CHECKSUM in value) and value != seal(value):
        raise ValueError("its checksum does not fit its content")
    return {name: part for name, part in value.items() if name != CHECKSUM}


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Replace ``path`` by the sealed value. Raises as :func:`mm3d_core.files.atomic.write_json`."""
    write_json(path, seal(value))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What :func:`write_sealed` wrote; None when the file is missing or damaged."""
    try:
        return unseal(parse_json(path.read_bytes()))
    except (OSError, ValueError):
        return None
