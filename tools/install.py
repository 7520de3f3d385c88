"""Create a virtual environment and install the suite into it. Needs nothing but Python 3.11 or newer.

    python3 tools/install.py .venv

torch comes first. MM3D_TORCH says which build:

    auto     (default) CUDA where the NVIDIA driver lists a GPU, in the version that the driver serves; otherwise the
             CPU build, since pip's default on Linux would fetch gigabytes of CUDA libraries
    cpu      the CPU build
    cuda     pip's own choice, a CUDA build on Linux: for a login node without a GPU whose jobs have one
    cuXYZ    a certain build, such as cu126

Versions are pinned by constraints.txt.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TEXT: dict[str, Any] = {"capture_output": True, "text": True}


def main(folder: str) -> None:
    """Install into ``folder``; an existing environment is completed, not recreated."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what an older Python meets first)
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=python3.11 for make")
    python = Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        run(sys.executable, "-m", "venv", folder)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--upgrade", "pip>=24")
    install_torch(python, pip)
    # without build isolation, hence the build tools first: both packages are small and then build in seconds
    run(*pip, "-c", str(CONSTRAINTS), "scikit-build-core>=0.10", "setuptools>=77", "cmake", "ninja")
    run(*pip, "--no-build-isolation", "-c", str(CONSTRAINTS), "-e", str(ROOT / "packages/pointops"))
    run(*pip, "--no-build-isolation", "-c", str(CONSTRAINTS), "-e", f"{ROOT}[dev]")


def install_torch(python: Path, pip: tuple[str, ...]) -> None:
    """The build that MM3D_TORCH asks for; with ``auto`` an installed torch is left alone."""
    wanted = os.environ.get("MM3D_TORCH") or "auto"
    if not re.fullmatch(r"auto|cpu|cuda|cu\d{2,3}", wanted):
        sys.exit(f"MM3D_TORCH={wanted}: choose auto, cpu, cuda, or a build such as cu126")
    found = subprocess.run([str(python), "-c", "import torch; print(torch.version.cuda or '')"], **TEXT)
    if found.returncode == 0 and fits(wanted, found.stdout.strip()):
        return
    pinned = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    backend = torch_backend(wanted, lambda: brings_cuda(pip, pinned))
    again = ("--force-reinstall",) if found.returncode == 0 else ()
    if backend is None:
        run(*pip, "-c", str(CONSTRAINTS), *again, pinned)
    else:
        run(*pip, "uv")
        again = ("--reinstall-package", "torch") if again else ()
        chosen = ("--torch-backend", backend, *again, pinned)
        run(str(python), "-m", "uv", "pip", "install", "--python", str(python), *chosen)


def fits(wanted: str, cuda: str) -> bool:
    """Whether an installed torch for CUDA ``cuda`` ("" for a CPU build) is what is wanted."""
    return {"auto": True, "cpu": not cuda, "cuda": bool(cuda)}.get(wanted, wanted == "cu" + cuda.replace(".", ""))


def torch_backend(wanted: str, default_is_cuda: Callable[[], bool]) -> str | None:
    """uv's ``--torch-backend``, or None for pip's own choice; says what was decided where that may surprise."""
    if wanted == "cuda":
        return None
    if wanted != "auto":
        return wanted
    driver = driver_state()
    if driver == "works":
        return "auto"  # uv asks the driver which CUDA it serves
    if driver == "fails":
        print("nvidia-smi is here and lists no GPU: the driver is broken or not loaded", flush=True)
    if not default_is_cuda():
        return None
    print("No GPU to be seen: installing torch's CPU build. A run where there is a GPU will refuse it.", flush=True)
    if shutil.which("sbatch"):
        print("This machine has Slurm: if its jobs have GPUs, run MM3D_TORCH=cuda make install", flush=True)
    return "cpu"


def driver_state() -> str:
    """What ``nvidia-smi`` says: ``works`` (it lists a GPU), ``fails``, or ``missing``."""
    if not shutil.which("nvidia-smi"):
        return "missing"
    listed = subprocess.run(["nvidia-smi", "-L"], **TEXT)
    return "works" if listed.returncode == 0 and "GPU" in listed.stdout else "fails"


def brings_cuda(pip: tuple[str, ...], requirement: str) -> bool:
    """Whether pip's own choice of ``requirement`` depends on CUDA libraries (asked without installing)."""
    answer = subprocess.run([*pip, "--dry-run", "--report", "-", requirement], capture_output=True, text=True)
    if answer.returncode != 0:
        sys.exit(f"pip found no {requirement}:\n{answer.stderr}")
    chosen = [item["metadata"]["name"].lower() for item in json.loads(answer.stdout)["install"]]
    return any(name.startswith(("nvidia-", "cuda-")) for name in chosen)


def run(*command: str) -> None:
    """Run one step, show it, stop at the first that fails."""
    print("+", " ".join(command), flush=True)
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # setuptools explains at length what an editable install is
    if subprocess.run(command, env=quiet).returncode != 0:
        sys.exit(f"this step failed: {' '.join(command)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
