"""Which device a run takes: a GPU that is there and that torch cannot use is refused, with a remedy that works."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mm3d_benchmarks.runs import device
from mm3d_benchmarks.runs.machine import Machine
from mm3d_core.observing import hardware
from mm3d_core.errors import UserError
from pointops import _dispatch

SMI = """#!/bin/sh
case "$1" in
  --query-gpu*) echo "0, GPU-aaaa, NVIDIA A100, 40960, 470.57"; echo "1, GPU-bbbb, NVIDIA A100, 40960, 470.57" ;;
  *) echo "| NVIDIA-SMI 470.57   Driver Version: 470.57   CUDA Version: 11.4 |" ;;
esac
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """No GPU, no Slurm, and nothing remembered of what nvidia-smi said."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    hardware.listed_gpus.cache_clear()
    hardware.driver_cuda.cache_clear()
    yield
    hardware.listed_gpus.cache_clear()
    hardware.driver_cuda.cache_clear()


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch) -> None:
    """A machine whose driver lists two GPUs."""
    script = tmp_path / "nvidia-smi"
    script.write_text(SMI)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
class TestWithoutAUsableGpu:
    """What torch's build without CUDA, or an old driver, gives."""

    def test_the_cpu_is_taken_where_there_is_no_gpu(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        assert Machine.of({}).device == "cpu"
        with pytest.raises(UserError, match="choose auto or cpu"):
            Machine.of({"machine": {"device": "cuda"}})

    @pytest.mark.parametrize("wanted", ["auto", "cuda"])
    def test_a_gpu_and_torch_without_cuda_are_refused(self, wanted, two_gpus, monkeypatch):
        monkeypatch.setattr(torch.version, "cuda", None)
        with pytest.raises(UserError, match=r"2 GPU\(s\), but torch .* without CUDA; .*MM3D_TORCH=cuda make install"):
            Machine.of({"machine": {"device": wanted}})
        assert Machine.of({"machine": {"device": "cpu"}}).device == "cpu"

    def test_a_job_with_gpus_and_torch_without_cuda_is_refused(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(torch.version, "cuda", None)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("SLURM_GPUS_ON_NODE", "4")
        with pytest.raises(UserError, match=r"Slurm gave this job 4 GPU"):
            Machine.of({})

    def test_a_driver_too_old_is_told_apart_and_the_build_for_it_named(self, two_gpus, monkeypatch):
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        with pytest.raises(UserError, match=r"driver serves CUDA up to 11.4 .* MM3D_TORCH=cu114 make install"):
            Machine.of({})

    def test_gpus_hidden_on_purpose_are_not_missed(self, two_gpus, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert Machine.of({}).device == "cpu"


def test_visible_gpus_follow_the_variable(two_gpus):
    assert hardware.visible_gpus({}) == ["0", "1"]
    assert hardware.visible_gpus({"CUDA_VISIBLE_DEVICES": "1"}) == ["1"]
    assert hardware.visible_gpus({"CUDA_VISIBLE_DEVICES": "GPU-bb,0"}) == ["GPU-bb", "0"]
    assert hardware.visible_gpus({"CUDA_VISIBLE_DEVICES": "1,7,0"}) == ["1"]
    assert hardware.visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_workers_beside_a_gpu_take_the_spare_cores(monkeypatch):
    monkeypatch.setattr(hardware, "job_cores", lambda: 16)
    assert [device.loader_workers("auto", "cuda", processes) for processes in (1, 2, 4, 16)] == [8, 7, 3, 0]
    assert device.loader_workers("auto", "cpu", 1) == 0
    assert device.loader_workers(3, "cpu", 1) == 3
    for wrong in (-1, "many", True):
        with pytest.raises(UserError, match="machine.workers"):
            device.loader_workers(wrong, "cuda", 1)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="machine.processes=3"):
        Machine.of({"machine": {"processes": 3}})


def test_triton_that_cannot_compile_is_warned_about_once_and_left_alone(monkeypatch):
    def launch() -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")

    pytest.importorskip("triton")
    from pointops.triton import probe

    monkeypatch.setattr(probe, "launch", launch)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    _dispatch.has_triton.cache_clear()
    with pytest.warns(UserWarning, match="Failed to find C compiler.*plain torch.*gcc") as told:
        assert not _dispatch.has_triton()
        assert not _dispatch.has_triton()
    assert len(told) == 1
    _dispatch.has_triton.cache_clear()


def test_a_gpu_too_old_for_triton_is_warned_about_and_serves_with_plain_torch(monkeypatch):
    pytest.importorskip("triton")
    from pointops.triton import probe

    launched: list[bool] = []
    monkeypatch.setattr(probe, "launch", lambda: launched.append(True))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GTX 1080")
    _dispatch.has_triton.cache_clear()
    there = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)  # features on a GPU
    with pytest.warns(UserWarning, match=r"GTX 1080 is sm_61, the oldest is sm_70.*plain torch.*newer GPU") as told:
        assert _dispatch.kernels(there) == "torch"  # pyright: ignore[reportArgumentType]
        assert not _dispatch.has_triton()
    assert len(told) == 1
    assert not launched
    _dispatch.has_triton.cache_clear()
