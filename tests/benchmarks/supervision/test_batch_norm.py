"""Probes read a frozen encoder by statistics measured on whole scenes; fine-tuning forgets what was carried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarks.small_runs import config, write_rooms
from core.tiny import scan
from safetensors.torch import load_file, save_file
from torch import nn

from mm3d_benchmarks.runs.configuration import protocol_of
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_benchmarks.supervision.batch_norm import NONE, measure, spread_over
from mm3d_core.errors import UserError


class Normed(nn.Module):
    """A batch norm over the features of the points."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, momentum=0.3)

    def forward(self, points):
        return self.norm(points.coord)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"), points=500)


def test_measured_statistics_are_the_mean_over_the_scenes_and_nothing_else_moves():
    encoder, scenes = Normed(), [scan(50, seed) for seed in range(3)]
    encoder.norm.running_mean.fill_(7.0)  # pyright: ignore[reportOptionalMemberAccess]
    assert measure(encoder, iter(scenes)) == "measured on 3 whole training scenes, without labels"
    expected = torch.stack([points.coord.mean(0) for points in scenes]).mean(0)
    torch.testing.assert_close(encoder.norm.running_mean, expected)
    torch.testing.assert_close(encoder.norm.running_var, torch.stack([p.coord.var(0) for p in scenes]).mean(0))
    assert (encoder.training, encoder.norm.training, encoder.norm.momentum) == (False, False, 0.3)


def test_a_network_without_batch_norm_is_a_sentence_and_no_error():
    assert measure(nn.Linear(3, 3), iter([scan(20)])) == NONE


def test_scenes_are_spread_over_the_list():
    assert spread_over([str(n) for n in range(100)], 4) == ["0", "25", "50", "75"]
    assert spread_over(["a", "b"], 4) == ["a", "b"]


@pytest.mark.parametrize("form", ["levels", "neighbors"])
def test_probes_of_equal_weights_are_equal_whatever_statistics_they_carry(root: Path, tmp_path: Path, form: str):
    run_pretrain(config(root), tmp_path / "pretrain", {})
    weights = load_file(tmp_path / "pretrain/encoder.safetensors")
    spoiled = {n: v * 3 if n.endswith(("running_mean", "running_var")) else v for n, v in weights.items()}
    save_file(spoiled, tmp_path / "spoiled.safetensors")
    results = {}
    for choice in ("measured", "carried"):
        for name, source in (("as it is", tmp_path / "pretrain"), ("spoiled", tmp_path / "spoiled.safetensors")):
            folder = tmp_path / choice / name
            settings = config(root, protocol={"train": form, "batch_norm": choice}, recipe__finetune__steps=2)
            run_finetune(settings, folder, {"pretrain": source})
            results[choice, name] = load_file(folder / "model.safetensors")
            said = json.loads((folder / "metrics.json").read_text())["batch_norm"]
            assert said.startswith("measured on 3 whole" if choice == "measured" else "carried")
    equal = {
        choice: all(torch.equal(results[choice, "as it is"][n], v) for n, v in results[choice, "spoiled"].items())
        for choice in ("measured", "carried")
    }
    assert equal == {"measured": True, "carried": False}
    moved = {
        n
        for n, v in results["measured", "as it is"].items()
        if n.startswith("encoder.") and not torch.equal(v, weights[n.removeprefix("encoder.")])
    }
    assert moved
    assert all("running_" in name or "num_batches" in name for name in moved)


def test_fine_tuning_does_not_see_what_statistics_the_encoder_carried(root: Path, tmp_path: Path):
    """In training a batch norm reads its batch; what it carried fades as (1 - momentum) to the power of the steps."""
    run_pretrain(config(root), tmp_path / "pretrain", {})
    weights = load_file(tmp_path / "pretrain/encoder.safetensors")
    save_file({n: v + 5 if n.endswith("running_mean") else v for n, v in weights.items()}, tmp_path / "off.safetensors")
    kept = {}
    for name, source in (("as it is", tmp_path / "pretrain"), ("off", tmp_path / "off.safetensors")):
        run_finetune(config(root), tmp_path / name, {"pretrain": source})
        kept[name] = load_file(tmp_path / name / "model.safetensors")
    for tensor, value in kept["as it is"].items():
        if tensor.startswith("encoder.") and tensor.endswith("running_mean"):
            torch.testing.assert_close(
                kept["off"][tensor] - value, torch.full_like(value, 5 * 0.9**6), atol=1e-3, rtol=0
            )
        else:
            assert torch.equal(kept["off"][tensor], value), tensor


def test_an_unknown_choice_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"protocol.batch_norm=frozen: choose one of measured, carried"):
        protocol_of({"seed": 0, "protocol": {"batch_norm": "frozen"}})
