"""Weights that were written before they could describe themselves: the description is added to the files of a run.

The file and the checksum in the run's result change together, as far as two files can: a note of the new checksum is
written first, so that a call that was killed between the two is completed by the next.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.scene import hash_file
from mm3d_benchmarks.pretrained.compose import description_of
from mm3d_benchmarks.pretrained.description import Description
from mm3d_benchmarks.pretrained.network import build
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.store import Run
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.files.sealed import seal
from mm3d_core.files.weights_header import read_header

NOTE = "describing.json"  # {file name: its new SHA-256}, while the description is added
WEIGHTS = {"pretrain": layout.ENCODER_WEIGHTS, "finetune": layout.MODEL_WEIGHTS}


def describe_run(run: Run) -> str:
    """Let the weights of a finished run describe themselves; says what was done.

    Args:
        run: whose lock the caller holds.

    Raises:
        UserError: not finished, no weights, weights that the run did not write, or, of a detector, without its data.
    """
    name, description = _described(run)
    path, result = run.folder / name, run.metrics()
    recorded: Any = result.get("weights")
    if not isinstance(recorded, dict) or name not in recorded:
        raise UserError(f"{run.folder}: its result does not list {name}; `mm3d store rm {run.key}`, then run again")
    if not path.is_file():
        raise UserError(f"{path}: is missing; `mm3d store rm {run.key}`, then run again")
    now, note = hash_file(path), run.read(NOTE) or {}
    if now != recorded[name] and note.get(name) != now:
        raise UserError(
            f"{path}: damaged, or not what its run wrote (its checksum does not fit); "
            f"`mm3d store rm {run.key}`, then run again"
        )
    told = read_header(path)[0].get(layout.SPEAKS) == layout.spoken(description)
    if told and now == recorded[name]:
        return f"{path}: describes itself already"
    if not told:
        new = path.with_name(f".{name}.described.tmp")
        try:
            after = layout.describe(path, description, new)
            run.write(NOTE, {name: after})
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)
    run.write(layout.DESCRIPTION, description)
    whole = {**result, "weights": {**recorded, name: hash_file(path)}}
    write_json(run.folder / layout.METRICS, seal(whole))
    (run.folder / NOTE).unlink(missing_ok=True)
    return f"{path}: describes itself now ({description['holds']}, {description['name']})"


def describe_copy(run: Run, file: Path) -> str:
    """Let a copy of a run's weights describe itself; says what was done.

    Raises:
        UserError: the file's tensors are not those of the run's network.
    """
    _, description = _described(run)
    _, tensors = read_header(file)
    network = build(Description.from_json(description, file), file)
    expected = {name: list(value.shape) for name, value in network.state_dict().items()}
    if expected != {name: value.get("shape") for name, value in tensors.items()}:
        raise UserError(f"{file}: its tensors are not those of run {run.key}; name the run that it was copied from")
    layout.describe(file, description)
    return f"{file}: describes itself now ({description['holds']}, {description['name']})"


def _described(run: Run) -> tuple[str, dict[str, Any]]:
    """The name of the run's weights, and what they should say."""
    if not run.is_done:
        raise UserError(f"{run.folder}: is no finished run; `mm3d store ls` lists them")
    description = description_of(run)
    if description is None:
        raise UserError(f"{run.folder}: an evaluation leaves no weights; describe the run that it scores")
    return WEIGHTS[run.spec().kind], description.to_json()
