"""Which device a run computes on. A GPU that is there and would lie idle is an error, never a silent slow run."""

from __future__ import annotations

import torch

from mm3d_core.observing import hardware
from mm3d_core.errors import UserError
from pointops import backend

MOST_WORKERS = 8  # of one process; more only wait for the disk
INSTALL = "install torch's CUDA build: MM3D_TORCH=cuda make install"


def chosen_device(wanted: str) -> str:
    """``cuda`` or ``cpu`` for ``auto``, ``cuda`` or ``cpu``.

    Raises:
        UserError: another word, a GPU asked for that torch cannot use, or, with ``auto``, a GPU that this machine
            lists or Slurm granted and torch cannot use.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"machine.device={wanted}: choose auto, cpu or cuda")
    if wanted == "cpu" or torch.cuda.is_available():
        return "cpu" if wanted == "cpu" else "cuda"
    problem = unused_gpu()
    if problem:
        raise UserError(f"machine.device={wanted}: {problem}; or say machine.device=cpu to compute without it")
    if wanted == "cuda":
        raise UserError("machine.device=cuda: torch sees no GPU here, and neither does nvidia-smi; choose auto or cpu")
    return "cpu"


def unused_gpu() -> str | None:
    """Why a GPU that is here cannot be used, with the remedy; None if it can, or if there is none."""
    if torch.cuda.is_available():
        return None
    visible, granted = hardware.visible_gpus(), hardware.granted_gpus()
    if not visible and not granted:
        return None
    there = f"this machine has {len(visible)} GPU(s)" if visible else f"Slurm gave this job {granted} GPU(s)"
    if torch.version.cuda is None:
        return f"{there}, but torch {torch.__version__} is a build without CUDA; {INSTALL}"
    newest = hardware.driver_cuda()
    if newest and _version(newest) < _version(torch.version.cuda):
        wheel = "cu" + "".join(newest.split(".")[:2])
        return (
            f"{there}, but the driver serves CUDA up to {newest} and torch {torch.__version__} needs "
            f"{torch.version.cuda}; update the driver, or take a build for it: MM3D_TORCH={wheel} make install"
        )
    return f"{there}, but torch {torch.__version__} (CUDA {torch.version.cuda}) cannot start it; see mm3d doctor"


def loader_workers(wanted: int | str, device: str, processes: int) -> int:
    """Loader workers of each process: a number, or for ``auto`` none on a CPU and the spare cores beside a GPU.

    Raises:
        UserError: neither a number from 0 on nor ``auto``.
    """
    if wanted == "auto":
        return 0 if device == "cpu" else max(0, min(hardware.job_cores() // max(1, processes) - 1, MOST_WORKERS))
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise UserError(f"machine.workers={wanted}: give a whole number from 0 on, or auto")
    return wanted


def enough_gpus(device: str, processes: int) -> None:
    """Raises UserError if ``processes`` training processes on GPUs are more than the GPUs to be seen."""
    if device == "cuda" and processes > torch.cuda.device_count():
        raise UserError(
            f"machine.processes={processes}: each needs a GPU of its own, and {torch.cuda.device_count()} can be seen"
        )


def in_words(device: str) -> str:
    """What a run computes with, for the first line of its log."""
    cuda = f", CUDA {torch.version.cuda}" if device == "cuda" else ""
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    operations = ("Triton" if _has_triton() else "plain torch") if device == "cuda" else backend()
    return f"computing on {name}: torch {torch.__version__}{cuda}, point operations in {operations}"


def _has_triton() -> bool:
    from pointops import _dispatch

    return _dispatch.has_triton()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])
