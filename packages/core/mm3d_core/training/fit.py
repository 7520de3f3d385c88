"""fit(): the one training loop, for pre-training and fine-tuning alike.

    each step:  batches -> loss -> backward -> clip -> optimizer -> after_step (EMA) -> log -> checkpoint

Random numbers come from (seed, step, process) alone and the loader gives the batches of any step, so a training resumed
from a checkpoint repeats an undisturbed one (bit for bit on the CPU), and a failed step can be replayed alone.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.norm import synchronize_norms
from mm3d_core.observing.efficiency import Meter
from mm3d_core.observing.log import TrainingLog
from mm3d_core.seeding import generator, seed_everything
from mm3d_core.training import distributed
from mm3d_core.training.checkpoint import drop_previous, load_checkpoint, save_checkpoint
from mm3d_core.training.interruption import StopRequest
from mm3d_core.training.parallel import Parallel
from mm3d_core.training.schedules import Position, Schedule, set_batch_norm_momentum
from mm3d_core.training.snapshots import save_snapshot, snapshot_steps

logger = logging.getLogger(__name__)

DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
MAX_OVERFLOWS = 30  # fp16 scale starts at 2**16: after so many halvings in a row the trouble is not the scale
FAILURE_FOLDER, STEP_FILE = "failure", "step.json"  # the state before a step that failed, and which it was


class Batch(Protocol):
    """What a loader yields."""

    @property
    def names(self) -> Sequence[str]:
        """The scenes in it."""
        ...

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Any:
        """A copy on a device."""
        ...


class Loader(Protocol):
    """Batches by step: the same for the same step, always."""

    steps_per_epoch: int

    def stream(self, first_step: int, steps: int) -> Iterator[Batch]:
        """The micro-batches of steps ``first_step`` to ``steps - 1``, ``accumulation`` of them for each step."""
        ...


Objective = Callable[[Any, Any, torch.Generator], dict[str, Tensor]]
"""(module, batch, generator) -> named losses; "loss" is differentiated, the others are logged."""


@dataclass(frozen=True)
class Settings:
    """What moves the numbers of a training.

    Attributes:
        steps: optimizer steps.
        seed: of everything random in the steps.
        accumulation: micro-batches whose gradients are averaged for one step.
        clip: largest gradient norm, or None.
        precision: "fp32", "bf16", or "fp16" with loss scaling.
        synchronize_batch_norm: share batch statistics between processes.
        snapshots: how often the weights are kept on the way, at even distances, the last time at the end.
    """

    steps: int
    seed: int = 0
    accumulation: int = 1
    clip: float | None = None
    precision: str = "fp32"
    synchronize_batch_norm: bool = False
    snapshots: int = 0

    def __post_init__(self) -> None:
        if self.precision not in DTYPES:
            raise UserError(f"precision={self.precision!r} is unknown: choose one of {', '.join(DTYPES)}")
        if self.steps < 1 or self.accumulation < 1:
            raise UserError(f"steps={self.steps} and accumulation={self.accumulation} must be at least 1")
        if self.snapshots < 0:
            raise UserError(f"snapshots={self.snapshots}: give a whole number from 0 (none) on")


@dataclass(frozen=True)
class Reporting:
    """What moves no number: how often things are written.

    Attributes:
        log_every: steps between two records of log.jsonl.
        checkpoint_seconds: at most this much work is lost to a kill.
        checkpoint_every: also a checkpoint every so many steps, or None.
        replay: command that repeats the step saved in the ``failure`` folder, named in the message about a bad loss.
    """

    log_every: int = 10
    checkpoint_seconds: float = 60.0
    checkpoint_every: int | None = None
    tensorboard: bool = False
    wandb: str | None = None
    progress: bool | None = None
    replay: str = ""


def fit(
    module: nn.Module,
    objective: Objective,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    settings: Settings,
    schedule: Schedule,
    batch_norm: Schedule | None = None,
    frozen: Sequence[nn.Module] = (),
    reporting: Reporting | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Train ``module`` in place, from the folder's checkpoint if there is one.

    Args:
        module: what is trained, on ``device``; its ``after_step()``, if any, runs after each optimizer step. With
            ``parameters_vary = True`` its steps may differ in which parameters they use (several processes ask).
        batch_norm: schedule of the batch-norm momentum, or None for the layers' own.
        frozen: parts kept in evaluation mode (their batch norms do not move).

    Returns:
        The efficiency record of this training: times, memory, parameters.

    Raises:
        UserError: NaN or infinite loss or gradients, a batch that the network refuses, a checkpoint of another
            network, a full disk.
        Preempted: a stop signal came; the checkpoint is written.
    """
    loop = _Loop(
        module,
        objective,
        optimizer,
        folder,
        settings,
        schedule,
        batch_norm,
        reporting or Reporting(),
        torch.device(device),
    )
    start = loop.resume()
    module.train()
    for part in frozen:
        part.eval()
    with StopRequest() as stop:
        loop.run(loader, start, stop)
    return loop.meter.summary(module)


def read_step(parts: Sequence[dict[str, Tensor]], norm: Tensor) -> tuple[dict[str, float], float]:
    """The losses of a step by name, means over its micro-batches, and the gradient norm; a GPU is waited for once."""
    sums: dict[str, Tensor] = {}
    for losses in parts:
        for name, value in losses.items():
            share = value.detach().float() / len(parts)
            sums[name] = sums[name] + share if name in sums else share
    there = [name for name, value in sums.items() if value.device == norm.device]
    read = torch.stack([norm.detach().float(), *(sums[name] for name in there)]).tolist()
    known = dict(zip(there, read[1:], strict=True))
    return {name: known[name] if name in known else float(value) for name, value in sums.items()}, read[0]


class _Wrapped(nn.Module):
    """The objective as a module, so that data-parallel hooks see one forward pass."""

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.module, self.objective = module, objective

    def forward(self, batch: Any, random: torch.Generator) -> dict[str, Tensor]:
        return self.objective(self.module, batch, random)


class _Loop:
    """The state of one training."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        folder: Path,
        settings: Settings,
        schedule: Schedule,
        batch_norm: Schedule | None,
        reporting: Reporting,
        device: torch.device,
    ) -> None:
        self.module, self.optimizer, self.folder = module, optimizer, folder
        self.settings, self.reporting, self.device = settings, reporting, device
        self.schedule, self.batch_norm = schedule, batch_norm
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        fp16 = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=fp16)  # pyright: ignore[reportPrivateImportUsage]
        self.overflows = 0
        self.meter = Meter(device)
        whole = _Wrapped(module, objective)
        if settings.synchronize_batch_norm and distributed.world_size() > 1:
            synchronize_norms(whole)
        self.parallel = Parallel(whole, device, varies=getattr(module, "parameters_vary", False))

    # ------------------------------------------------------------------ steps

    def run(self, loader: Loader, start: int, stop: StopRequest) -> None:
        """Take the steps from ``start`` to the end."""
        settings, report = self.settings, self.reporting
        log = self._open_log(start)
        saved_at = time.monotonic()
        kept = snapshot_steps(settings.steps, settings.snapshots)
        stream = loader.stream(start, settings.steps)
        try:
            for step in range(start, settings.steps):
                with self.meter.step():
                    record = self.step(Position(step, settings.steps, loader.steps_per_epoch), stream)
                done = step + 1
                if log is not None:
                    log.advance()
                    if done % report.log_every == 0 or done in (1, settings.steps):
                        log.write({"step": done, **record, **self.meter.rates()})
                if done in kept and distributed.is_main():  # before the checkpoint that would not take the step again
                    save_snapshot(self.folder, done, self.module.state_dict())
                if distributed.any_process(stop.signal is not None)[0]:
                    self.save(done)
                    stop.signal = stop.signal or 15  # another process of the group was told
                    stop.hand_on(done)
                due = report.checkpoint_every is not None and done % report.checkpoint_every == 0
                if due or done == settings.steps or time.monotonic() - saved_at > report.checkpoint_seconds:
                    self.save(done)
                    saved_at = time.monotonic()
        finally:
            if log is not None:
                log.close()
        if distributed.is_main():
            drop_previous(self.folder)

    def step(self, position: Position, stream: Iterator[Batch]) -> dict[str, Any]:
        """One optimizer step; returns what the log should know."""
        settings = self.settings
        rate = self.schedule(position)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        if self.batch_norm is not None:
            set_batch_norm_momentum(self.module, self.batch_norm(position))
        keys = (settings.seed, "step", position.step, distributed.rank())
        seed_everything(*keys)  # dropout and the like
        random = generator(*keys, "objective", device="cpu")
        self.optimizer.zero_grad(set_to_none=True)
        buffers = self._buffers()
        parts: list[dict[str, Tensor]] = []
        names: list[str] = []
        for micro in range(settings.accumulation):
            batch = next(stream)
            names += batch.names
            try:
                last = micro == settings.accumulation - 1
                parts.append(self._backward(batch, random, last))
                if last:
                    self.parallel.settle()
            except ValueError as error:  # the network or an operation refuses what it was given
                self._fail(position.step, names, str(error), {}, error)
        self.scaler.unscale_(self.optimizer)
        limit = math.inf if settings.clip is None else settings.clip
        totals, norm = read_step(parts, nn.utils.clip_grad_norm_(self.parameters, limit))
        # fp16 answers a bad loss by skipping the step; the others stop before a parameter is touched.
        bad = not math.isfinite(totals["loss"]) and settings.precision != "fp16"
        if distributed.any_process(bad)[0]:
            self._fail(position.step, names, f"loss is {totals['loss']}", totals)
        self._update(position.step, names, totals, norm)
        if not math.isfinite(norm):
            for buffer, value in buffers:
                buffer.copy_(value)
        finite = {name: value for name, value in totals.items() if math.isfinite(value)}
        first_rate = float(self.optimizer.param_groups[-1]["lr"])
        return {
            "epoch": position.epoch,
            **finite,
            "lr": first_rate,
            **({"gradient_norm": norm} if math.isfinite(norm) else {}),
        }

    def _buffers(self) -> list[tuple[Tensor, Tensor]]:
        """Buffers and copies of them: an fp16 overflow would leave NaN in running statistics for good."""
        if self.settings.precision != "fp16":
            return []
        return [(buffer, buffer.clone()) for buffer in self.module.buffers()]

    def _backward(self, batch: Batch, random: torch.Generator, last: bool) -> dict[str, Tensor]:
        """Loss and gradients of one micro-batch."""
        batch = batch.to(self.device, non_blocking=True)
        dtype = DTYPES[self.settings.precision]
        with self.parallel.micro_batch(last):
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
                losses = self.parallel(batch, random)
            self.scaler.scale(losses["loss"] / self.settings.accumulation).backward()
        return losses

    def _update(self, step: int, names: list[str], totals: dict[str, float], norm: float) -> None:
        """Check the gradients' norm, step, then the module's own ``after_step``."""
        if not math.isfinite(norm):
            if self.settings.precision != "fp16":
                self._fail(step, names, f"gradient norm is {norm}", totals)
            self.overflows += 1
            if self.overflows > MAX_OVERFLOWS:
                self._fail(step, names, f"fp16 overflowed {self.overflows} steps in a row", totals)
        else:
            self.overflows = 0
        self.scaler.step(self.optimizer)  # skips by itself after an overflow
        self.scaler.update()
        if math.isfinite(norm) and hasattr(self.module, "after_step"):
            self.module.after_step()  # pyright: ignore[reportCallIssue]

    def _fail(
        self, step: int, names: list[str], what: str, totals: dict[str, float], cause: Exception | None = None
    ) -> NoReturn:
        """Save the state before this step, and say what happened where.

        A process that refuses its own batch writes itself: before the step all hold the same state, and the others
        wait for this one in vain.
        """
        folder, alone = self.folder / FAILURE_FOLDER, cause is not None and not distributed.is_main()
        if distributed.is_main() or alone:
            made = folder.with_name(f"{FAILURE_FOLDER}.{distributed.rank()}") if alone else folder
            self.save(step, made, here=True)
            terms = {name: str(value) for name, value in totals.items()}
            about = {"rank": distributed.rank(), "processes": distributed.world_size()}
            write_json(made / STEP_FILE, {"step": step + 1, "what": what, "scenes": names, "terms": terms} | about)
            if alone:
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # another process was faster: its failure stands
                    os.rename(made, folder)
        replay = f"; replay it with: {self.reporting.replay}" if self.reporting.replay else ""
        raise UserError(
            f"{self.folder}: training stopped at step {step + 1}: {what}, scenes {', '.join(names)}; "
            f"the state before the step is in {folder}{replay}"
        ) from cause

    # ------------------------------------------------------------------ files

    def resume(self) -> int:
        """Load the folder's checkpoint if there is one; returns the steps done."""
        state = load_checkpoint(self.folder)
        distributed.barrier()
        if state is None:
            return 0
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.overflows = state["overflows"]
            self.meter.load_state(state["meter"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"{self.folder}: its checkpoint belongs to another network ({str(error)[:300]}); "
                "delete it or choose another folder"
            ) from error
        logger.info("%s: continuing after step %d", self.folder.name, state["step"])
        return int(state["step"])

    def save(self, step: int, folder: Path | None = None, here: bool = False) -> None:
        """Write the state after ``step`` steps: the main process, or ``here`` whichever this is."""
        if not (here or distributed.is_main()):
            return
        state = {
            "step": step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "overflows": self.overflows,
            "meter": self.meter.state(),
        }
        save_checkpoint(folder or self.folder, state)

    def _open_log(self, start: int) -> TrainingLog | None:
        if not distributed.is_main():
            return None
        report = self.reporting
        return TrainingLog(self.folder, start, self.settings.steps, report.tensorboard, report.wandb, report.progress)
