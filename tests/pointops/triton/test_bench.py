"""The GPU benchmark says in one line that it needs a GPU, and runs where there is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


def run() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speed.pointops", "--device", "cuda"]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_refuses_in_one_line():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["No CUDA device here: python -m speed.pointops --device cuda needs one."]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_prints_every_kernel():
    done = run()
    assert done.returncode == 0, done.stderr
    for name in ("gather", "gather, subtract, add", "softmax-aggregate", "interpolate", "kNN", "FPS"):
        assert f"| {name}" in done.stdout
