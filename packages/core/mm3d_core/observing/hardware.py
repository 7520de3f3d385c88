"""The machine's GPUs as its driver lists them, whatever torch can make of them. Imports no torch."""

from __future__ import annotations

import csv
import functools
import io
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

QUERY = "index,uuid,name,memory.total,driver_version"


@dataclass(frozen=True)
class Gpu:
    """One GPU of ``nvidia-smi``.

    Attributes:
        index: as ``CUDA_VISIBLE_DEVICES`` counts them.
        uuid: its name for good.
        name: of the model.
        memory_mib: MiB, 0 if it does not say.
        driver: version.
    """

    index: str
    uuid: str
    name: str
    memory_mib: int
    driver: str


@functools.cache
def listed_gpus() -> tuple[Gpu, ...]:
    """The GPUs that ``nvidia-smi`` lists; none where it is missing, fails or takes longer than 20 seconds."""
    answer = _ask("--query-gpu=" + QUERY, "--format=csv,noheader,nounits")
    found = []
    for row in csv.reader(io.StringIO(answer), skipinitialspace=True):
        if len(row) == len(QUERY.split(",")):
            index, uuid, name, memory, driver = (cell.strip() for cell in row)
            found.append(Gpu(index, uuid, name, int(memory) if memory.isdigit() else 0, driver))
    return tuple(found)


@functools.cache
def driver_cuda() -> str:
    """The newest CUDA that the driver serves, such as ``12.4``; empty if it does not say."""
    match = re.search(r"CUDA Version:\s*([0-9.]+)", _ask())
    return match[1] if match else ""


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """The listed GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, as that variable names them."""
    chosen = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [gpu.index for gpu in listed_gpus()]
    names = []
    for name in (part.strip() for part in chosen.split(",")):
        known = any(name == gpu.index or (name and gpu.uuid.startswith(name)) for gpu in listed_gpus())
        if not known and not name.startswith("MIG-"):
            break  # as CUDA itself: what follows a name that does not exist is hidden
        names.append(name)
    return names


def granted_gpus(environment: Mapping[str, str] | None = None) -> int:
    """The GPUs that Slurm gave to this job on this node; 0 outside of a job."""
    known = os.environ if environment is None else environment
    if not known.get("SLURM_JOB_ID"):
        return 0
    count = known.get("SLURM_GPUS_ON_NODE", "")
    names = known.get("SLURM_JOB_GPUS") or known.get("SLURM_STEP_GPUS") or ""
    return int(count) if count.isdigit() else len([name for name in names.split(",") if name])


def job_cores() -> int:
    """Cores that this process may use: its affinity mask, or what Slurm gave to each task if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(cores, int(given)) if given.isdigit() and int(given) else cores


def _ask(*arguments: str) -> str:
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
