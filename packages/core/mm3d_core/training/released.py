"""The tensors of a checkpoint that another project published: one reader for every importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mm3d_core.errors import UserError
from mm3d_core.files.plain_arrays import array_globals
from mm3d_core.training.checkpoint import read_tensors

STATE_KEYS = ("model_state_dict", "state_dict")  # under which training programs keep the network


def read_released(path: Path) -> dict[str, Tensor]:
    """The network's tensors in a released file, names without ``module.``; nothing in it is executed.

    Raises:
        UserError: no such file, not readable without unpickling, or without network weights.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint; download it first, or correct the path")
    try:
        content: Any = read_tensors(path, array_globals())
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read as plain tensors ({error}); if it is whole and you trust it, "
            "load it once by hand and save its 'state_dict' alone"
        ) from error
    for name in STATE_KEYS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    items = content.items() if isinstance(content, dict) else ()
    found = {str(name).removeprefix("module."): value for name, value in items if isinstance(value, Tensor)}
    if not found:
        raise UserError(
            f"{path}: holds no network weights, no state dict of tensors; choose the file that the released training "
            "program wrote"
        )
    return found
