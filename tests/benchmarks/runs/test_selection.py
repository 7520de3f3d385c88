"""Snapshots of a fine-tuning: the same after a kill, and the best of them is scored where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.runs.test_detection_runs import detection
from benchmarks.small_runs import config, write_rooms
from safetensors.torch import load_file

from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_benchmarks.evaluation.voting import Voting
from mm3d_benchmarks.evaluation.voxel_validation import VoxelValidation
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.configuration import Evaluation
from mm3d_benchmarks.runs.selection import quick
from mm3d_core.training import fit as training
from mm3d_core.errors import UserError

VOTING = {"_target_": "mm3d_benchmarks.evaluation.voting.Voting", "voxel": 0.1, "max_points": 600}


def settings(root: Path, **changes: Any) -> dict[str, Any]:
    return config(root, **{"recipe__finetune__snapshots": 3, "machine__checkpoint_every": 4, **changes})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    run_finetune(settings(write_rooms(folder / "data")), folder / "finetune")
    return folder


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_a_finetuning_keeps_its_snapshots_and_records_what_they_are(base: Path):
    names = {f"snapshot_{step}.safetensors" for step in (2, 4, 6)} | {"model.safetensors"}
    files = written(base / "finetune")
    assert set(files) == names
    assert set(json.loads((base / "finetune/metrics.json").read_text())["weights"]) == names
    assert files["snapshot_6.safetensors"] == files["model.safetensors"]
    assert len(set(files.values())) == 3


def test_without_the_setting_nothing_is_kept_and_the_network_is_the_same(base: Path, tmp_path: Path):
    run_finetune(settings(base / "data", recipe__finetune__snapshots=0), tmp_path)
    assert written(tmp_path) == {"model.safetensors": written(base / "finetune")["model.safetensors"]}


@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_finetuning_cut_before_or_after_a_snapshot_ends_with_the_same_files(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    original = training._Loop.step

    def cut(self: Any, position: Any, stream: Any) -> dict[str, Any]:
        if position.step == at:
            raise KeyboardInterrupt
        return original(self, position, stream)

    monkeypatch.setattr(training._Loop, "step", cut)
    with pytest.raises(KeyboardInterrupt):
        run_finetune(settings(base / "data"), tmp_path)
    monkeypatch.setattr(training._Loop, "step", original)
    run_finetune(settings(base / "data"), tmp_path)
    assert written(tmp_path) == written(base / "finetune")
    assert (tmp_path / "metrics.json").read_bytes() == (base / "finetune/metrics.json").read_bytes()


def best(base: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    run_evaluate(settings(base / "data", evaluation__select="best", **changes), folder, {"finetune": base / "finetune"})
    return json.loads((folder / "metrics.json").read_text())


def test_the_best_snapshot_by_voxel_validation_is_scored_by_the_tables_own_protocol(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    result = best(base, tmp_path / "best", evaluation__protocol=VOTING)
    selection = result["selection"]
    assert (selection["metric"], selection["protocol"], list(selection["values"])) == (
        "mIoU",
        "voxel_validation",
        ["2", "4", "6"],
    )
    values = {int(step): value for step, value in selection["values"].items()}
    assert values[selection["step"]] == max(values.values())
    alone = settings(base / "data", evaluation__protocol=VOTING)
    run_evaluate(alone, tmp_path / "alone", {"finetune": base / f"finetune/snapshot_{selection['step']}.safetensors"})
    assert json.loads((tmp_path / "alone/metrics.json").read_text())["metrics"] == result["metrics"]
    assert not (tmp_path / "best/selection.json").exists()


def test_a_snapshot_on_the_way_can_win(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the quick scores turned around, another one is chosen and its weights are those scored."""
    from mm3d_benchmarks.runs import selection

    scores = iter([1.0, 3.0, 3.0])  # of equal ones the first
    monkeypatch.setattr(selection, "_validate", lambda *_: next(scores))
    chosen = best(base, tmp_path / "best")
    assert chosen["selection"]["step"] == 4
    upstream = {"finetune": base / "finetune/snapshot_4.safetensors"}
    run_evaluate(settings(base / "data"), tmp_path / "alone", upstream)
    alone = json.loads((tmp_path / "alone/metrics.json").read_text())
    assert alone["metrics"] == chosen["metrics"]
    assert "selection" not in alone


def test_an_interrupted_choice_goes_on_with_the_next_snapshot(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = best(base, tmp_path / "whole")
    seen: list[str] = []
    original = VoxelValidation.__call__

    def counted(self: Any, model: Any, scene: Any, *rest: Any) -> Any:
        if len(seen) == 3 and not (tmp_path / "again").exists():
            (tmp_path / "again").touch()
            raise KeyboardInterrupt  # within the second snapshot
        seen.append(scene.name)
        return original(self, model, scene, *rest)

    monkeypatch.setattr(VoxelValidation, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        best(base, tmp_path / "cut")
    assert best(base, tmp_path / "cut") == whole
    assert len(seen) == 3 + 2 + 2 + 2  # the second and third snapshot, then the scoring


def test_a_detector_is_chosen_by_its_own_pass(base: Path, tmp_path: Path):
    given = detection(base / "data")
    given["recipe"]["finetune"]["snapshots"] = 2
    given["evaluation"]["select"] = "best"
    run_finetune(given, tmp_path / "finetune")
    run_evaluate(given, tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
    result = json.loads((tmp_path / "evaluate/metrics.json").read_text())
    selection = result["selection"]
    assert (selection["metric"], selection["protocol"]) == ("mAP@0.25", "detection_pass")
    assert set(selection["values"]) == {"2", "4"}
    assert result["metrics"]["mAP@0.25"] == pytest.approx(max(selection["values"].values()), abs=1e-5)


def test_without_snapshots_the_remedy_is_named(base: Path, tmp_path: Path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/model.safetensors").write_bytes(written(base / "finetune")["model.safetensors"])
    given = settings(base / "data", evaluation__select="best")
    for source in (tmp_path / "plain", tmp_path / "plain/model.safetensors"):
        with pytest.raises(UserError, match=r"has no snapshots .* recipe\.finetune\.snapshots=10"):
            run_evaluate(given, tmp_path / "evaluate", {"finetune": source})


def test_a_damaged_snapshot_is_named(base: Path, tmp_path: Path):
    folder = tmp_path / "finetune"
    folder.mkdir()
    for name, content in written(base / "finetune").items():
        (folder / name).write_bytes(content)
    (folder / "metrics.json").write_bytes((base / "finetune/metrics.json").read_bytes())
    (folder / "snapshot_4.safetensors").write_bytes((folder / "snapshot_2.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"snapshot_4\.safetensors: damaged"):
        run_evaluate(settings(base / "data", evaluation__select="best"), tmp_path / "run", {"finetune": folder})


def test_what_makes_no_sense_is_refused(base: Path):
    with pytest.raises(UserError, match=r"evaluation\.select=first: choose one of last, best"):
        Evaluation.of(settings(base / "data", evaluation__select="first"))
    assert Evaluation.of(settings(base / "data")).select == "last"
    with pytest.raises(UserError, match=r"recipe\.pretrain\.snapshots=2: only fine-tunings"):
        Recipe.of(settings(base / "data", recipe__pretrain__snapshots=2), "pretrain")
    with pytest.raises(UserError, match="snapshots=-1"):
        Recipe.of(settings(base / "data", recipe__finetune__snapshots=-1), "finetune").settings(1, 0)


def test_only_voting_has_a_quick_stand_in():
    validation, detector = VoxelValidation(0.1, max_points=50), DetectionPass(40)
    assert quick(validation) is validation
    assert quick(detector) is detector
    stand_in = quick(Voting(0.07, 500))
    assert (type(stand_in), stand_in.voxel) == (VoxelValidation, 0.07)


def test_snapshots_are_whole_networks(base: Path):
    whole, early = (load_file(base / "finetune" / name) for name in ("model.safetensors", "snapshot_2.safetensors"))
    assert {name: value.shape for name, value in whole.items()} == {name: v.shape for name, v in early.items()}
