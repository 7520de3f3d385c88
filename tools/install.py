"""Create a virtual environment and install the suite into it. Needs nothing but Python 3.11 or newer.

    python3 tools/install.py .venv

torch comes first: on a machine without an NVIDIA driver its CPU build is chosen, since pip's default on Linux would
fetch gigabytes of CUDA libraries. Versions are pinned by constraints.txt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


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
    """The CPU build where there is no NVIDIA driver and pip would choose CUDA, else what pip chooses."""
    if subprocess.run([str(python), "-c", "import torch"], capture_output=True).returncode == 0:
        return
    pinned = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    has_driver = shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi"], capture_output=True).returncode == 0
    if not has_driver and brings_cuda(pip, pinned):
        run(*pip, "uv")
        run(str(python), "-m", "uv", "pip", "install", "--python", str(python), "--torch-backend", "cpu", pinned)
    else:
        run(*pip, "-c", str(CONSTRAINTS), pinned)


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
