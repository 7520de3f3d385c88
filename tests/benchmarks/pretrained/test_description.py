"""Weights say what they are; what they say is checked before anything is built; runs write it and stay reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.pretrained.small_networks import BACKBONES, described, redescribe
from benchmarks.small_runs import config, write_rooms
from safetensors import safe_open
from safetensors.torch import save_file

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import hash_file
from mm3d_benchmarks.launching.execute import execute
from mm3d_benchmarks.pretrained import compose
from mm3d_benchmarks.pretrained.description import FORMAT, PLAIN, Description, read_description
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.spec import RunSpec, seen_by
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A pre-training, a fine-tuning from it and its evaluation."""
    return run_chain(tmp_path_factory.mktemp("chain"))


def run_chain(folder: Path) -> dict[str, Run]:
    settings = config(write_rooms(folder / "data"), pretrain__name="mm3dscene")
    settings["dataset"]["root"] = str(folder / "data")
    store, upstream, runs = Store(folder / "runs"), {}, {}
    for kind in ("pretrain", "finetune", "evaluate"):
        told = seen_by(kind, settings)
        local = {"dataset": {"root": told["dataset"].pop("root")}}  # as the planner: no folder is in a key
        runs[kind] = store.register(RunSpec(kind, told, upstream, local=local))
        assert execute(runs[kind].folder) == 0
        upstream = {kind: runs[kind].key}
    return runs


def test_a_run_leaves_weights_that_describe_themselves(chain: dict[str, Run]) -> None:
    encoder = read_description(chain["pretrain"].folder / "encoder.safetensors")
    assert (encoder.holds, encoder.name, encoder.inputs) == ("encoder", "point_transformer", ("coord", "color"))
    assert encoder.method == {"name": "mm3dscene", "pretrain": chain["pretrain"].key}
    assert encoder.run == chain["pretrain"].key
    assert encoder.sampling.voxel == 0.04
    assert "generates" in encoder.data["licence"]
    model = read_description(chain["finetune"].folder / "model.safetensors")
    assert model.holds == "segmentation"
    assert model.classes[:2] == ("ceiling", "floor")
    assert len(model.colors) == 13
    assert model.method == encoder.method


def test_any_reader_of_safetensors_finds_it(chain: dict[str, Run]) -> None:
    path = chain["pretrain"].folder / "encoder.safetensors"
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["mm3dscene"])
    assert told["format"] == PLAIN
    assert (told["units"], told["up"]) == ("metres", "z")
    assert told["inputs"][1] == {"name": "color", "columns": 3, "values": "red, green, blue in [0, 1]"}


def test_the_result_holds_the_checksum_of_the_final_file(chain: dict[str, Run]) -> None:
    for kind, name in (("pretrain", "encoder.safetensors"), ("finetune", "model.safetensors")):
        assert chain[kind].metrics()["weights"][name] == hash_file(chain[kind].folder / name)


def test_the_same_run_elsewhere_leaves_the_same_bytes(chain: dict[str, Run], tmp_path: Path) -> None:
    again = run_chain(tmp_path)
    for kind, name in (("pretrain", "encoder.safetensors"), ("finetune", "model.safetensors")):
        assert again[kind].key == chain[kind].key
        assert (again[kind].folder / name).read_bytes() == (chain[kind].folder / name).read_bytes()


def test_a_run_that_lost_its_result_writes_the_same_bytes_again(chain: dict[str, Run]) -> None:
    run = chain["pretrain"]
    before = (run.folder / "encoder.safetensors").read_bytes(), (run.folder / "metrics.json").read_bytes()
    (run.folder / "metrics.json").unlink()
    assert execute(run.folder) == 0
    assert ((run.folder / "encoder.safetensors").read_bytes(), (run.folder / "metrics.json").read_bytes()) == before


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_description_survives_its_file(tmp_path: Path, backbone: str) -> None:
    for kind in ("pretrain", "finetune"):
        found = read_description(described(tmp_path, backbone, kind))
        assert Description.from_json(found.to_json(), "again") == found
        assert found.holds == "encoder" if kind == "pretrain" else found.classes


def test_a_file_without_a_description_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match=r"does not describe itself.*weight.*mm3d store describe"):
        pretrained.load(tmp_path / "foreign.safetensors")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    file = described(tmp_path, "point_transformer")
    layout.describe(file, {**read_description(file).to_json(), "format": FORMAT + 1, "suite": "9.0"})
    with pytest.raises(UserError, match=r"format 3 \(suite 9.0\).*update it"):
        pretrained.load(file)


@pytest.mark.parametrize("target", ["their_project.models.SparseUNet", "torch.hub.load", "os.system"])
def test_a_foreign_network_is_refused_by_name_before_it_is_imported(tmp_path: Path, target: str) -> None:
    file = described(tmp_path, "point_transformer")
    redescribe(file, replace(read_description(file), encoder={"_target_": target}))
    with pytest.raises(UserError, match=f"foreign network, {target}"):
        pretrained.load(file)


def test_only_networks_are_built_for_a_file(tmp_path: Path) -> None:
    file = described(tmp_path, "votenet")
    converter = {"_target_": "mm3d_backbones.released_detection.convert_file", "source": "a", "target": "b"}
    redescribe(file, replace(read_description(file), encoder={**converter, "network": "votenet"}))
    with pytest.raises(UserError, match="is no network"):
        pretrained.load(file)


def test_ones_own_package_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = described(tmp_path, "point_transformer")
    own = tmp_path / "my_backbone.py"
    own.write_text("from mm3d_backbones.point_transformer import PointTransformer as Mine")
    monkeypatch.syspath_prepend(tmp_path)
    told = read_description(file)
    redescribe(file, replace(told, encoder={**told.encoder, "_target_": "my_backbone.Mine"}))
    with pytest.raises(UserError, match="modules=my_backbone"):
        pretrained.load(file)
    assert pretrained.load(file, device="cpu", modules=["my_backbone"]).channels == (16, 32, 64)


def test_an_encoder_of_another_width_is_refused(tmp_path: Path) -> None:
    file = described(tmp_path, "point_transformer")
    told = read_description(file)
    redescribe(file, replace(told, encoder={**told.encoder, "channels": [8, 16, 24]}))
    with pytest.raises(UserError, match="another network than PointTransformer"):
        pretrained.load(file)
    redescribe(file, replace(told, inputs=("height",)))
    with pytest.raises(UserError, match="reads 6 channels, but its inputs height have 1"):
        pretrained.load(file)


def test_a_run_without_weights_says_which_run_has_them(chain: dict[str, Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"load the run that it scores.*{chain['finetune'].key}"):
        pretrained.load(chain["evaluate"].folder)
    with pytest.raises(UserError, match="no such run"):
        pretrained.load(tmp_path / "nowhere")


def test_weights_that_their_run_did_not_write_are_refused(chain: dict[str, Run], tmp_path: Path) -> None:
    folder = tmp_path / chain["pretrain"].key
    folder.mkdir()
    for name in ("encoder.safetensors", "metrics.json", "spec.json"):
        (folder / name).write_bytes((chain["pretrain"].folder / name).read_bytes())
    data = bytearray((folder / "encoder.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "encoder.safetensors").write_bytes(data)
    with pytest.raises(UserError, match="checksum does not fit"):
        pretrained.load(folder)


def test_no_run_ends_for_want_of_a_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Run) -> None:
        raise UserError("no classes")

    monkeypatch.setattr(compose, "description_of", fails)
    run = run_chain(tmp_path)["pretrain"]
    assert "will not describe themselves: no classes" in capsys.readouterr().err
    assert run.metrics()["weights"]["encoder.safetensors"] == hash_file(run.folder / "encoder.safetensors")
    assert not (run.folder / layout.DESCRIPTION).exists()
    with pytest.raises(UserError, match="does not describe itself"):
        pretrained.load(run.folder)


def test_classes_without_colors_get_some_that_differ() -> None:
    names, colors = compose.classes_of("segmentation", DatasetFacts("mine", ("floor", "wall", "lamp")))
    assert names == ("floor", "wall", "lamp")
    assert len(set(colors)) == 3


def test_a_network_that_cannot_be_built_is_one_error(tmp_path: Path) -> None:
    file = described(tmp_path, "point_transformer")
    told = read_description(file)
    redescribe(file, replace(told, encoder={**told.encoder, "channels": [8 * 10**15, 16, 24]}))
    with pytest.raises(UserError, match="cannot be built"):
        pretrained.load(file)
