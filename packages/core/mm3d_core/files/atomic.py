"""Files that are either whole or absent: write under a temporary name, fsync, rename, fsync the folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mm3d_core.errors import UserError

SHARED = (
    "if it is a colleague's, in a folder for several people: its owner says `chmod -R g+rwXs FOLDER` once (umask 002)"
)


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; on success it becomes ``path`` in one step.

    Args:
        path: the file to create or replace; its folder is created.
        mode: ``"wb"`` or ``"w"`` (UTF-8, ``\\n`` line ends on every platform).

    Raises:
        UserError: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        remedy = SHARED if isinstance(error, PermissionError) else "free space or choose another folder"
        raise UserError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error
    try:
        with _open(descriptor, mode) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _fsync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise UserError(f"{path}: could not be written ({error.strerror}); nothing was changed") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8) in one step. Raises as :func:`atomic_write`."""
    with atomic_write(path, "w") as stream:
        stream.write(text)


def write_text_if_changed(path: Path, text: str) -> bool:
    """Write only when the bytes differ, so that an unchanged result keeps its time stamp. Returns whether it wrote."""
    if path.exists() and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by sorted, indented JSON; NaN and infinity are a ValueError. Raises as :func:`atomic_write`."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def _open(descriptor: int, mode: str) -> IO[Any]:
    """A stream whose text, if it is one, has the same bytes on every platform."""
    if "b" in mode:
        return os.fdopen(descriptor, mode)
    return os.fdopen(descriptor, mode, encoding="utf-8", newline="\n")


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot fsync a folder are left to their own promises."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
