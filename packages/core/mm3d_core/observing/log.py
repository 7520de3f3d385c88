"""What a training writes while it runs: log.jsonl, TensorBoard, optionally Weights & Biases, and a progress bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_core.errors import UserError
from mm3d_core.observing.logfile import LOG_FILE, truncate_log


class TrainingLog:
    """One line of JSON per record, mirrored to the chosen sinks.

    Args:
        folder: the run's folder.
        step: the step of the checkpoint from which the training continues; later lines belong to steps that will be
            taken again and are removed. 0 starts a new log.
        steps: length of the training, for the progress bar.
        tensorboard: also write event files to ``folder/tensorboard``.
        wandb: project name for Weights & Biases, or None.
        progress: True, False, or None for "when standard error is a terminal".

    Raises:
        UserError: wandb is asked for and not installed; the log cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        steps: int,
        tensorboard: bool = False,
        wandb: str | None = None,
        progress: bool | None = None,
    ) -> None:
        from tqdm import tqdm

        path = folder / LOG_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            truncate_log(path, step)
            self._path, self._stream = path, path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        self._board = _open_tensorboard(folder, step) if tensorboard else None
        self._wandb = _open_wandb(folder, wandb) if wandb else None
        self._bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            desc=folder.name,
            file=sys.stderr,
            disable=None if progress is None else not progress,
        )

    def advance(self) -> None:
        """Move the progress bar by one step."""
        self._bar.update()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; it must have an integer "step". Numbers also go to the sinks.

        Raises:
            UserError: the disk is full.
        """
        try:
            self._stream.write(json.dumps(record, allow_nan=False) + "\n")
            self._stream.flush()
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror}); free space and run again") from error
        numbers = {name: value for name, value in record.items() if isinstance(value, float)}
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, record["step"])
        if self._wandb is not None:
            self._wandb.log(numbers, step=record["step"])
        if "loss" in numbers:
            self._bar.set_postfix(loss=f"{numbers['loss']:.4g}", refresh=False)

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.close()
        self._stream.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _open_tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "machine.tensorboard is on, but the package 'tensorboard' is missing: install it or switch it off"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def _open_wandb(folder: Path, project: str) -> Any:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "machine.wandb is set, but the package 'wandb' is missing: install it or set it to null"
        ) from error
    return wandb.init(project=project, id=folder.name, name=folder.name, dir=str(folder), resume="allow")
