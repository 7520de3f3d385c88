"""mm3d doctor: one line for each thing, a remedy for what is wrong, and status 1 for a GPU that would lie idle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mm3d_benchmarks.commands.main import main
from mm3d_core.observing import hardware


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    hardware.listed_gpus.cache_clear()
    hardware.driver_cuda.cache_clear()
    yield
    hardware.listed_gpus.cache_clear()
    hardware.driver_cuda.cache_clear()


def test_a_machine_without_a_gpu_is_well(capsys, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for name in ("Python", "torch", "NVIDIA driver", "Triton", "CPU kernels", "Slurm", "disk of", "LaTeX", "browser"):
        assert name in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_would_lie_idle_is_an_error_with_its_remedy(tmp_path: Path, capsys, monkeypatch):
    script = tmp_path / "nvidia-smi"
    script.write_text('#!/bin/sh\n[ -n "$1" ] && echo "0, GPU-aa, NVIDIA H100, 81559, 550.54"\nexit 0\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert main(["doctor", "--json"]) == 1
    found = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["GPU 0"]["value"] == "NVIDIA H100, 80 GiB"
    assert "MM3D_TORCH=cuda make install" in found["runs compute on"]["remedy"]


def test_a_compiler_that_is_missing_is_named(monkeypatch):
    from mm3d_benchmarks.commands import doctor
    from pointops import _dispatch

    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_dispatch, "triton_problem", lambda: "RuntimeError: Failed to find C compiler")
    (finding,) = doctor._triton()
    assert "Failed to find C compiler" in finding.value
    assert "gcc" in finding.remedy
