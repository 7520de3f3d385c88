"""Where a result comes from: commit, command, host, devices, versions. Nothing here enters a key."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from mm3d_benchmarks.store.layout import PROVENANCE, read_json

_PACKAGES = ("torch", "numpy", "scipy", "mm3dscene", "mm3d-pointops")
_WRITTEN = ("dvc.lock", "metrics", "results")  # in git, and rewritten by every reproduction
_SLURM = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_PARTITION", "SLURM_NNODES")


def gather(device: str, ops_backend: str = "") -> dict[str, Any]:
    """What is known about this process.

    Args:
        device: name of the device the run computed on, such as ``cpu`` or ``NVIDIA H100``.
        ops_backend: which point operations ran, as ``pointops`` reports it.
    """
    return {
        "commit": commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "host": socket.gethostname(),
        "device": device,
        "device_kind": device.split(":")[0] if device in ("", "cpu") else "gpu",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "ops_backend": ops_backend,
        "python": platform.python_version(),
        "versions": versions(),
        "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ},
    }


def of_weights(upstream: Iterable[Path]) -> dict[str, Any]:
    """``{"weights": ...}``: the given file (name, SHA-256, card) that runs in these folders started from, if any."""
    told = [(read_json(folder / PROVENANCE) or {}).get("weights") for folder in upstream]
    return next(({"weights": found} for found in told if isinstance(found, dict)), {})


@lru_cache(maxsize=1)
def commit(here: Path = Path(__file__).parent) -> dict[str, Any]:
    """``{"id": ..., "dirty": bool}`` of the checkout that holds this folder; id is empty outside a checkout.

    What the suite itself writes (``_WRITTEN``) is no change: the first table of a fresh clone would make all others
    come from a changed one.
    """
    identity = _git(here, "rev-parse", "HEAD")
    rest = (":(top)", *(f":(top,exclude){name}" for name in _WRITTEN))
    changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", *rest) if identity else ""
    return {"id": identity, "dirty": bool(changed)}


def versions() -> dict[str, str]:
    """Installed versions of what computes."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git(here: Path, *command: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(here), *command], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
