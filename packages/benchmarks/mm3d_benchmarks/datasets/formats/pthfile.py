"""``.pth`` files from anywhere, which are pickles: read without unpickling anything but data.

They are opened with ``weights_only=True``, which builds tensors, plain values and, here, NumPy arrays of numbers;
anything else in them is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_core.files.plain_arrays import array_globals

CONVERT = "write its arrays as .npy where you trust the file"


def load_pth(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is made of tensors, arrays of numbers and plain values only.

    Raises:
        BrokenSceneError: the file cannot be read, is damaged, or holds objects that would have to be unpickled.
    """
    from mm3d_core.training.checkpoint import read_tensors

    try:
        value, size = read_tensors(path, array_globals()), path.stat().st_size
    except OSError as error:
        raise BrokenSceneError(f"{path}: cannot be read ({error})") from error
    except ValueError as error:  # damaged bytes come out as errors of many kinds
        what = " ".join(str(error).rpartition("WeightsUnpickler error:")[2].split())[:160] or str(error)
        raise BrokenSceneError(
            f"{path}: damaged, or holds more than plain arrays and is not unpickled ({what}); {CONVERT}"
        ) from error
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    if any(isinstance(part, np.ndarray) and part.nbytes > size for part in parts):
        raise BrokenSceneError(f"{path}: promises arrays that are larger than the file; {CONVERT}")
    return value
