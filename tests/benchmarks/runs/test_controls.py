"""Controls stand where a pre-training stands: labels, another start, exchanged matches; and transfer moves the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.runs.test_detection_runs import detection
from benchmarks.small_runs import config, write_rooms
from safetensors.torch import load_file

from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_benchmarks.store.spec import seen_by
from mm3d_core.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def oracle(settings: dict[str, Any]) -> dict[str, Any]:
    """As the planner hands it to a pre-training, which sees no task."""
    control = {"kind": "supervised", "task": settings["task"], "heads": settings["backbone"]["task"], "votes": "hull"}
    return seen_by("pretrain", {**settings, "pretrain": {"name": "oracle", "method": None, "control": control}})


@pytest.mark.parametrize("settings", [config, detection], ids=["segmentation", "detection"])
def test_the_oracle_learns_from_labels_and_leaves_an_encoder(settings: Any, root: Path, tmp_path: Path):
    wanted = oracle(settings(root))
    assert "task" not in wanted
    run_pretrain(wanted, tmp_path / "oracle", {})
    result = json.loads((tmp_path / "oracle/metrics.json").read_text())
    assert result["kind"] == "pretrain"
    assert json.loads((tmp_path / "oracle/efficiency.json").read_text())["parameters_beside_encoder"] > 0
    run_finetune(settings(root), tmp_path / "finetune", {"pretrain": tmp_path / "oracle"})
    account = json.loads((tmp_path / "finetune/transfer.json").read_text())
    assert account["loaded"]
    assert not account["unused"]


def test_a_control_on_scans_without_labels_answers_with_one_sentence(root: Path, tmp_path: Path):
    settings = oracle(config(root))
    settings["dataset"] |= {"name": "folder", "facts": {"_target_": "mm3d_benchmarks.datasets.readers.folder.facts"}}
    with pytest.raises(UserError) as caught:
        run_pretrain(settings, tmp_path / "oracle", {})
    assert str(caught.value) == (
        "pretrain=oracle learns from labels, and data set folder has none for segmentation: this control is not "
        "defined there; leave its row out, or choose a labeled data set"
    )
    assert not (tmp_path / "oracle/metrics.json").exists()


def test_another_start_differs_by_seed_and_from_the_start_of_its_own_row(root: Path, tmp_path: Path):
    starts = []
    for seed in (0, 1):
        settings = config(root, seed=seed, pretrain={"name": "random", "method": None, "control": {"kind": "start"}})
        run_pretrain(settings, tmp_path / f"random{seed}", {})
        starts.append(load_file(tmp_path / f"random{seed}/encoder.safetensors"))
    scratch = config(root, recipe__finetune__steps=1, recipe__finetune__optimizer__lr=0.0)
    run_finetune(scratch, tmp_path / "scratch", {})
    own = load_file(tmp_path / "scratch/model.safetensors")
    weight = next(name for name, value in starts[0].items() if name.endswith("weight") and value.ndim == 2)
    assert not torch.equal(starts[0][weight], starts[1][weight])
    assert not torch.equal(starts[0][weight], own[f"encoder.{weight}"])
    assert json.loads((tmp_path / "random0/efficiency.json").read_text())["seconds_total"] == 0


def test_an_encoder_that_is_thrown_away_changes_the_result(root: Path, tmp_path: Path):
    """If fine-tuning ignored its encoder, every table would compare a row with itself."""
    run_pretrain(config(root), tmp_path / "pretrain", {})
    losses = {}
    for name, upstream in (("with", {"pretrain": tmp_path / "pretrain"}), ("without", {})):
        run_finetune(config(root), tmp_path / name, upstream)
        losses[name] = json.loads((tmp_path / name / "metrics.json").read_text())["metrics"]["loss"]
    assert losses["with"] != losses["without"]


def test_an_unknown_kind_of_control_is_refused(root: Path, tmp_path: Path):
    settings = config(root, pretrain={"name": "x", "method": None, "control": {"kind": "magic"}})
    with pytest.raises(UserError, match=r"pretrain.control.kind=magic: choose one of supervised, start"):
        run_pretrain(settings, tmp_path, {})


@pytest.mark.parametrize(("backbone", "evaluation"), [("point_transformer", "segmentation"), ("votenet", "detection")])
def test_the_configured_oracle_takes_the_heads_and_votes_of_its_backbone(backbone: str, evaluation: str):
    found = compose(Request({"pretrain": "oracle", "backbone": backbone, "dataset": "scannet", "evaluation": evaluation}))
    control = found["pretrain"]["control"]
    assert control["task"] == evaluation
    assert set(control["heads"]) == {evaluation}
    assert control["votes"] == "hull"
