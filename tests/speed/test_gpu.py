"""The page of ``make gpu``: what it measures, tried on the CPU, and what it says where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speed import gpu

HERE = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_writes_nothing(tmp_path: Path, capsys):
    assert gpu.main(["--out", str(tmp_path / "report.md")]) == 2
    assert "No CUDA device" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_every_network_has_a_line():
    found = list(gpu.lines(HERE, capacity=24e9, profile="smoke", networks=gpu.NETWORKS[:1] + gpu.NETWORKS[2:3]))
    assert [(line.backbone, line.kind) for line in found] == [
        *(("point_transformer", kind) for kind in gpu.KINDS), *(("votenet", kind) for kind in gpu.KINDS)
    ]  # fmt: skip
    assert all(line.seconds > 0 and line.estimate > 0 and line.scenes >= 2 for line in found)
    page = gpu.report(HERE, found, "| case |", "3 passed")
    assert page.count("| votenet |") == 2
    assert "3 passed" in page


def test_a_small_device_gets_smaller_micro_batches():
    config = gpu.configuration("point_transformer", "s3dis", "finetune", "smoke")
    whole = gpu.measure(config, "finetune", HERE, capacity=24e9)
    part = gpu.measure(config, "finetune", HERE, capacity=whole.estimate)
    assert part.scenes < whole.scenes
