"""The C++ kernels, loaded with ctypes: one library per instruction set, the best that the processor has.

Without a built library every operation runs on its plain-torch definition, and the first call says so once.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

VERSION = 5  # of the C interface: csrc/info.cpp
FLAVORS = ("avx512", "avx2", "baseline")  # best first; other processors than x86-64 have the last only
ENVIRONMENT = "POINTOPS_CPU"  # "reference", or the name of a flavor, to choose by hand

_P, _I, _L, _F, _D = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_double
_SIGNATURES: dict[str, tuple[object, ...]] = {
    "pointops_index_make": (_P, _P, _L, _I, _P),
    "pointops_knn": (_P, _P, _L, _P, _P, _P, _P, _L, _I, _I, _P, _P),
    "pointops_ball": (_P, _P, _L, _P, _P, _P, _P, _L, _F, _F, _I, _I, _I, _I, _P, _P),
    "pointops_radius_count": (_P, _P, _L, _P, _P, _P, _P, _I, _I, _P),
    "pointops_radius_fill": (_P, _P, _L, _P, _P, _P, _P, _I, _I, _I, _P, _P, _P),
    "pointops_nearest_pair": (_P, _P, _L, _P, _P, _P, _P, _I, _P, _P, _P, _P),
    "pointops_fps": (_P, _P, _L, _P, _P, _P, _I, _I, _P, _P),
    "pointops_fps_continue": (_P, _P, _L, _P, _P, _P, _I, _P),
    "pointops_gather": (_P, _L, _L, _P, _L, _I, _P),
    "pointops_scatter": (_P, _L, _L, _P, _L, _I, _P),
    "pointops_inverse": (_P, _L, _L, _P, _P),
    "pointops_relation": (_P, _P, _L, _P, _P, _L, _L, _L, _F, _I, _P),
    "pointops_relation_backward": (_P, _L, _P, _L, _L, _L, _F, _I, _P, _P),
    "pointops_aggregate": (_P, _L, _P, _P, _P, _L, _L, _L, _L, _I, _I, _P),
    "pointops_aggregate_backward": (_P, _P, _L, _P, _P, _P, _L, _L, _L, _L, _I, _I, _P, _P, _P),
    "pointops_interpolate": (_P, _L, _P, _P, _L, _L, _L, _I, _P),
    "pointops_interpolate_backward": (_P, _P, _L, _P, _P, _L, _L, _L, _I, _P, _P),
    "pointops_window_attention": (*[_P] * 9, *[_L] * 4, _I, _P, _P),
    "pointops_window_attention_backward": (*[_P] * 11, *[_L] * 4, _I, *[_P] * 4),
    "pointops_norm": (_P, _P, _L, _L, _P, _P, _D, _F, _I, _I, _P, _P),
    "pointops_norm_backward": (*[_P] * 3, _L, _L, *[_P] * 3, _D, _F, _I, _I, *[_P] * 3),
    "pointops_window_count": (_P, _P, _P, _P, _L, _I, _P),
    "pointops_window_fill": (*[_P] * 9, _L, _D, _D, _D, _L, _I, _P, _P),
}
_IN_SOME: dict[str, tuple[object, ...]] = {  # flavors only: ask has()
    "pointops_submanifold": (_P, _L, _L, _P, _L, _P, _L, _L, _I, _P),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded kernels, or None (with one warning) when there are none."""
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == "reference":
        return None
    if wanted and wanted not in FLAVORS:
        raise ValueError(f"{ENVIRONMENT} must be reference or one of {', '.join(FLAVORS)}, not {wanted!r}")
    built = _built()
    baseline = _open(built.get("baseline"))
    for flavor in (wanted,) if wanted else FLAVORS:
        if baseline is not None and baseline.pointops_supports(flavor.encode()):
            kernels = _open(built.get(flavor))
            if kernels is not None:
                return kernels
    warnings.warn(
        "pointops: no C++ kernels are installed; every operation runs on its plain-torch definition, which "
        "is slow. Install a C++ compiler and reinstall the package.",
        stacklevel=2,
    )
    return None


def backend() -> str:
    """What runs on the CPU: ``C++ (avx512)``, ``C++ (avx2)``, ``C++ (baseline)`` or ``plain torch``."""
    kernels = library()
    return "plain torch" if kernels is None else f"C++ ({kernels.pointops_flavor().decode()})"


def has(name: str) -> bool:
    """Whether the loaded kernels have this function, which some instruction sets do without."""
    return hasattr(library(), name)


def call(name: str, *arguments: object, bad: Sequence[str] = ("xyz", "new_xyz")) -> None:
    """Run one kernel; tensors are passed by address, lists of ends as int64 arrays.

    Raises:
        ValueError: coordinates that are NaN, infinite or beyond 1e18 (``bad`` names the two point arguments), or row
            numbers out of range.
        MemoryError: the kernel could not allocate.
    """
    kernels = library()
    if kernels is None:
        raise RuntimeError("the C++ kernels are not loaded")
    code = getattr(kernels, name)(*(_passed(value) for value in arguments))
    if code in (2, 3):
        raise ValueError(f"{bad[code - 2]} holds coordinates that are NaN, infinite or beyond 1e+18")
    if code == 4:
        raise ValueError("idx must name rows that exist, or -1")
    if code:
        raise MemoryError(f"{name}: out of memory")


def threads() -> int:
    """Threads a kernel may use: torch's number, which is 1 in loader workers."""
    return torch.get_num_threads()


def _passed(value: object) -> object:
    if isinstance(value, Tensor):
        return value.data_ptr()
    if isinstance(value, list):
        return (ctypes.c_int64 * len(value))(*value)
    return value


def _built() -> dict[str, Path]:
    """The libraries of this installation, by flavor."""
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    folders = [Path(__file__).parent / "lib"]
    with suppress(metadata.PackageNotFoundError):  # an editable installation keeps them beside its metadata
        folders.append(Path(str(metadata.distribution("mm3d-pointops").locate_file("pointops/lib"))))
    found: dict[str, Path] = {}
    for folder in folders:
        for flavor in FLAVORS:
            path = folder / f"pointops_{flavor}{suffix}"
            if flavor not in found and path.is_file():
                found[flavor] = path
    return found


def _open(path: Path | None) -> ctypes.CDLL | None:
    """The library at ``path``, or None if it is not there, cannot be loaded or speaks another version."""
    if path is None:
        return None
    try:
        kernels = ctypes.CDLL(str(path))
        if kernels.pointops_version() != VERSION:
            return None
        for name, types in _SIGNATURES.items():
            getattr(kernels, name).argtypes = types
    except (OSError, AttributeError):
        return None
    for name, types in _IN_SOME.items():
        if hasattr(kernels, name):
            getattr(kernels, name).argtypes = types
    kernels.pointops_index_free.argtypes = (_P,)
    kernels.pointops_index_free.restype = None
    kernels.pointops_flavor.restype = ctypes.c_char_p
    kernels.pointops_supports.argtypes = (ctypes.c_char_p,)
    return kernels
