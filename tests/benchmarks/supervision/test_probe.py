"""Probes: the encoder is frozen and provably so, and each form reads what it says."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
import json
from pathlib import Path

import pytest
import torch
from benchmarks.small_runs import config, write_rooms
from core.tiny import TinyEncoder, scan
from safetensors.torch import load_file
from torch import nn

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.supervision.probe import LinearProbe, NeighborProbe, fingerprint, point_features, probed
from mm3d_core.errors import UserError


@pytest.mark.parametrize("form", ["head", "linear", "levels", "neighbors"])
def test_a_probe_run_leaves_the_encoder_untouched_and_can_be_evaluated(tmp_path: Path, form: str):
    settings = config(write_rooms(tmp_path / "data"), protocol={"train": form})
    run_finetune(settings, tmp_path / "probe", {})
    run_evaluate(settings, tmp_path / "evaluate", {"finetune": tmp_path / "probe"})
    other = config(tmp_path / "data", protocol={"train": form}, recipe__finetune__steps=2)
    run_finetune(other, tmp_path / "short", {})
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("probe", "short"))
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith("encoder."))
    result = json.loads((tmp_path / "probe/metrics.json").read_text())
    assert len(result["frozen_encoder"]) == 64
    assert "mIoU" in json.loads((tmp_path / "evaluate/metrics.json").read_text())["metrics"]


def test_a_fingerprint_notices_a_buffer():
    network = nn.BatchNorm1d(2)
    before = fingerprint(network)
    network.running_mean.add_(1e-3)
    assert fingerprint(network) != before


def test_the_levels_form_sees_every_level_at_every_point():
    encoder, points = TinyEncoder().eval(), scan()
    features = point_features(encoder, points, levels=True)
    fine, coarse = encoder(points)
    assert features.shape == (points.num_points, 24)
    torch.testing.assert_close(features[:, :8], fine.feat)
    torch.testing.assert_close(
        features[coarse.index, 8:], coarse.feat, rtol=1e-4, atol=1e-4
    )  # where a coarse point lies


def test_a_linear_probe_learns_what_its_features_separate():
    torch.manual_seed(0)
    probe, points = LinearProbe(TinyEncoder(), 2), scan(400)
    probe.encoder.requires_grad_(False)
    segment = (points.coord[:, 2] > 0.1).long()
    optimizer = torch.optim.Adam([p for p in probe.parameters() if p.requires_grad], lr=0.1)
    for _ in range(100):
        loss = probe.loss(points, {"segment": segment})
        optimizer.zero_grad()
        loss["loss"].backward()
        optimizer.step()
    assert float(loss["accuracy"]) > 0.9


def test_neighbors_remember_evenly_and_vote_by_similarity():
    probe, points = NeighborProbe(TinyEncoder().eval(), 2, k=5, per_class=40), scan(400)
    segment = (torch.arange(400) % 3 == 0).long()
    for number in range(30):
        probe.remember(points, segment, torch.Generator().manual_seed(number))
    assert probe.filled.tolist() == [40, 40]
    logits = probe.predict(points)["logits"]
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(400), rtol=1e-4, atol=1e-4)
    assert float((logits.argmax(1) == segment).float().mean()) > 0.9  # the box is brighter than the floor


def test_an_empty_memory_is_refused():
    with pytest.raises(ValueError, match="empty"):
        NeighborProbe(TinyEncoder(), 2).predict(scan(50))


def test_an_unknown_form_and_a_form_without_point_classes_are_refused():
    class Detector(nn.Module):
        encoder = TinyEncoder()

    with pytest.raises(UserError, match=r"protocol\.train=half"):
        probed(Detector(), "half")
    with pytest.raises(UserError, match="choose head"):
        probed(Detector(), "linear")
    assert not any(p.requires_grad for p in probed(Detector(), "head").encoder.parameters())
