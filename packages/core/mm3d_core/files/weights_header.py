"""What a safetensors file says about itself: texts in its header, read and replaced without touching a tensor.

    8 bytes: the header's length | header: {"__metadata__": {name: text}, tensor: {dtype, shape, data_offsets}} | data

Offsets count from the end of the header, so the header may grow. Format: huggingface/safetensors, README ("Format").
Nothing in here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import atomic_write
from mm3d_core.files.untrusted import parse_json

METADATA = "__metadata__"
LENGTH = 8  # bytes of the header's length, little endian
ALIGN = 8  # the data begin at a multiple of so many bytes
BLOCK = 2**20  # bytes copied at a time
LARGEST = 100_000_000  # bytes of a header that safetensors reads


def read_header(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The metadata, and what is said of each tensor (``dtype``, ``shape``, ``data_offsets``).

    Raises:
        UserError: no such file, or not a whole safetensors header.
    """
    try:
        with open(path, "rb") as stream:
            return _parsed(path, stream)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct the path") from error


def write_metadata(path: Path, metadata: Mapping[str, str], target: Path | None = None) -> str:
    """Replace a file's metadata in one step; equal tensors and metadata give equal bytes.

    Args:
        target: the file to write instead of replacing ``path``.

    Returns:
        The SHA-256 of the new file, in hex.

    Raises:
        UserError: no such file, not a whole safetensors header, or a folder that cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source:
            _, tensors = _parsed(path, source)
            with atomic_write(target or path) as out:
                told = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
                text = json.dumps({**told, **tensors}, separators=(",", ":"), ensure_ascii=False).encode()
                text += b" " * (-len(text) % ALIGN)
                block = len(text).to_bytes(LENGTH, "little") + text
                while block:
                    out.write(block)
                    digest.update(block)
                    block = source.read(BLOCK)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    return digest.hexdigest()


def _parsed(path: Path, stream: IO[bytes]) -> tuple[dict[str, str], dict[str, Any]]:
    """The header of an open file; leaves the stream at the first byte of the data."""
    size = int.from_bytes(stream.read(LENGTH), "little")
    try:
        if not 2 <= size <= LARGEST:
            raise ValueError(f"a header of {size} bytes")
        text = stream.read(size)
        header = parse_json(text) if len(text) == size else None
        if not isinstance(header, dict):
            raise ValueError("no header")
        told = header.pop(METADATA, {})
        if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
            raise ValueError("metadata that are no texts")
        if not all(isinstance(value, dict) for value in header.values()):
            raise ValueError("tensors that are not described")
    except ValueError as error:
        raise UserError(f"{path}: is not a whole safetensors file ({error}); restore it or make it again") from error
    return told, header
