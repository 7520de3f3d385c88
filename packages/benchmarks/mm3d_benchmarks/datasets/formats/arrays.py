"""NumPy files from anywhere: plain numbers, exactly as many as the header says.

``numpy.load`` alone believes a header before it has seen the data.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

NUMBERS = "biuf"


def read_array(path: Path, memory_map: bool = False) -> np.ndarray:
    """An ``.npy`` file of plain numbers.

    Args:
        memory_map: read from disk what is touched; an array without elements is read at once.

    Raises:
        OSError: it cannot be read.
        ValueError: damaged, not plain numbers, or of another size than its header says.
    """
    with open(path, "rb") as stream:
        shape, _, dtype, needed = _header(stream, NUMBERS)
        have = os.fstat(stream.fileno()).st_size - stream.tell()
    if have != needed:
        raise ValueError(f"{dtype} {shape} takes {needed} bytes, the file has {have}")
    return np.load(path, mmap_mode="r" if memory_map and needed else None, allow_pickle=False)


class OtherKindError(ValueError):
    """An array holds something else than was expected."""


def read_archive(path: Path, kinds: str = NUMBERS, passed: list[str] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file, by name.

    Args:
        kinds: kinds of numpy type that are expected; ``"biufU"`` for text beside numbers.
        passed: gets the names of arrays of other kinds, which are left out then instead of refused.

    Raises:
        OSError: it cannot be read.
        ValueError: damaged, or not such arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            arrays: dict[str, np.ndarray] = {}
            names = [member.filename.removesuffix(".npy") for member in members]
            for name, member in zip(names, members, strict=True):
                try:
                    arrays[name] = _member(archive, member, kinds)
                except OtherKindError:
                    if passed is None:
                        raise
                    passed.append(name)
    except (OSError, ValueError):
        raise
    except Exception as error:  # zipfile and zlib have errors of many kinds for damaged bytes
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if len(set(names)) != len(names):
        raise ValueError("two arrays of one name")
    return arrays


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename}: compressed otherwise than numpy does")
    with archive.open(member) as stream:
        shape, fortran, dtype, needed = _header(stream, kinds)
        if stream.tell() + needed != member.file_size:
            raise ValueError(f"{member.filename}: {dtype} {shape} takes {needed} bytes, not what the archive holds")
        data = bytearray(stream.read())  # to the end, where the checksum is compared
    if len(data) != needed:
        raise ValueError(f"{member.filename}: ends early")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], kinds: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order (True: Fortran's), type, and bytes of the data, which the stream then stands before."""
    form: Any = np.lib.format
    version = form.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is for other things than plain numbers")
    try:
        read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except ValueError:
        raise
    except Exception as error:  # the header is Python text: its parser has errors of many kinds
        raise ValueError(f"damaged header ({type(error).__name__})") from error
    if dtype.kind not in kinds or dtype.itemsize == 0 or dtype.subdtype is not None:
        raise OtherKindError(f"holds {str(dtype)[:50]}, not plain numbers")
    if any(length < 0 for length in shape) or len(shape) > 8:
        raise ValueError(f"impossible shape {str(shape)[:80]}")
    return shape, fortran, dtype, math.prod(shape) * dtype.itemsize
