"""``mm3d doctor``: what this machine can do, what is wrong with it, and the remedy of each."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from mm3d_core.observing import hardware

LEAST_FREE_GB = 10  # of a disk, below which runs are likely to stop
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "firefox")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what is there, and, if something is wrong, what to do about it.

    Attributes:
        fatal: runs on this machine would not use what it has.
    """

    name: str
    value: str
    remedy: str = ""
    fatal: bool = False


def doctor(options: argparse.Namespace) -> int:
    """Print all findings; status 1 if a GPU is here that runs would not use."""
    found = examine([Path(options.store), Path("data")])
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        for finding in found:
            print(f"{finding.name:<18} {finding.value}")
            if finding.remedy:
                print(f"{'':<18} {'!!' if finding.fatal else '->'} {finding.remedy}")
    return 1 if any(finding.fatal for finding in found) else 0


def examine(folders: list[Path]) -> list[Finding]:
    """Everything worth knowing; ``folders`` are those whose disks are asked for room."""
    return [
        Finding("Python", f"{platform.python_version()} ({sys.executable})"),
        *_torch(),
        *_triton(),
        *_kernels(),
        *_slurm(),
        *(_disk(folder) for folder in folders),
        *_programs(),
    ]


def _torch() -> list[Finding]:
    import torch

    from mm3d_benchmarks.runs.device import unused_gpu

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    found = [Finding("torch", f"{torch.__version__}, {cuda}, {torch.get_num_threads()} thread(s)")]
    listed = hardware.listed_gpus()
    driver = f"{listed[0].driver}, serves CUDA up to {hardware.driver_cuda() or 'unknown'}" if listed else ""
    broken = "nvidia-smi is here and lists no GPU" if shutil.which("nvidia-smi") else "none"
    remedy = "load or repair the NVIDIA driver" if not listed and broken != "none" else ""
    found.append(Finding("NVIDIA driver", driver or broken, remedy))
    for gpu in listed:
        found.append(Finding(f"GPU {gpu.index}", f"{gpu.name}, {gpu.memory_mib / 1024:.0f} GiB"))
    if listed:
        found.append(Finding("visible GPUs", ", ".join(hardware.visible_gpus()) or "none (CUDA_VISIBLE_DEVICES)"))
    problem = unused_gpu()
    used = "cuda" if torch.cuda.is_available() else "cpu"
    return [*found, Finding("runs compute on", used, problem or "", fatal=problem is not None)]


def _triton() -> list[Finding]:
    """Triton, and whether a kernel compiles and runs; only a GPU needs it."""
    import torch

    from pointops._dispatch import triton_problem, triton_remedy

    if find_spec("triton") is None:
        remedy = "pip install triton, or a CUDA build of torch" if torch.cuda.is_available() else ""
        return [Finding("Triton", "not installed", remedy)]
    import triton

    if not torch.cuda.is_available():
        return [Finding("Triton", f"{triton.__version__}, not tried: no GPU to be used")]
    problem = triton_problem()
    if problem is None:
        return [Finding("Triton", f"{triton.__version__}, a kernel was compiled and run")]
    remedy = f"{triton_remedy(problem)}; until then operations run on plain torch"
    return [Finding("Triton", f"{triton.__version__}, cannot compile: {problem}", remedy)]


def _kernels() -> list[Finding]:
    from pointops import backend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would say is said here
        name = backend()
    slow = "install a C++ compiler, then: pip install --no-build-isolation -e packages/pointops"
    return [Finding("CPU kernels", name, "" if name.startswith("C++") else slow)]


def _slurm() -> list[Finding]:
    """Slurm's limits as far as an ordinary user sees them."""
    if not shutil.which("sbatch"):
        return [Finding("Slurm", "none")]
    settings = _say("scontrol", "show", "config")
    if not settings:
        return [Finding("Slurm", "sbatch is here, and the controller does not answer", "ask `scontrol ping`")]
    wanted = ("SLURM_VERSION", "MaxArraySize", "MaxJobCount")
    pairs = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", settings, re.M))
    found = [Finding("Slurm", ", ".join(f"{name} {pairs[name]}" for name in wanted if name in pairs))]
    limits = _say("sacctmgr", "-nP", "show", "assoc", f"user={os.environ.get('USER', '')}", "format=maxjobs,maxsubmit")
    shown = {tuple(line.split("|")) for line in limits.splitlines() if line.strip("|")}
    for jobs, sent in sorted(pair for pair in shown if len(pair) == 2):
        found.append(
            Finding("Slurm, your limits", f"jobs at once {jobs or 'no limit'}, submitted {sent or 'no limit'}")
        )
    return found


def _disk(folder: Path) -> Finding:
    """Room where a folder is, or would be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    remedy = "" if free >= LEAST_FREE_GB else "free some, or choose another disk (MM3D_STORE for the store)"
    return Finding(f"disk of {folder}", f"{free:.0f} GB free", remedy)


def _programs() -> list[Finding]:
    """What only the look of reports needs."""
    latex = shutil.which("pdflatex") or shutil.which("tectonic")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    return [
        Finding("LaTeX", latex or "none (tables are written as .tex all the same)"),
        Finding("browser", browser or "none (results/*/index.html opens in any)"),
    ]


def _say(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
