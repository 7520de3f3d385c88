"""``mm3d import``: released checkpoints come in whole, describe themselves, have a card, and can be started from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from backbones.released_states import h3dnet, point_transformer_state, stratified_state, votenet

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import split_request
from mm3d_benchmarks.pretrained.description import read_description
from mm3d_benchmarks.runs.build import build_encoder
from mm3d_benchmarks.runs.configuration import Backbone
from mm3d_benchmarks.runs.given import check_fit
from mm3d_benchmarks.store.weights_card import sha256_of
from mm3d_core.training.checkpoint import load_weights, read_weights, save_weights

DEEP = "stratified_transformer_scannet"
#: Released file -> (state dict, name under which its program keeps it, choices that run the same network here).
RELEASES: dict[str, tuple[dict[str, torch.Tensor], str, dict[str, str]]] = {
    "point_transformer.pth": (
        point_transformer_state(), "state_dict", {"backbone": "point_transformer", "dataset": "s3dis"},
    ),
    "mm3dscene.pth": (
        point_transformer_state("PT_model.", "cls_pt", 20), "state_dict",
        {"backbone": "point_transformer", "dataset": "scannet"},
    ),
    "stratified.pth": (stratified_state(), "state_dict", {"backbone": "stratified_transformer", "dataset": "s3dis"}),
    "stratified_scannet.pth": (
        stratified_state(scannet=True), "state_dict",
        {"backbone": DEEP, "dataset": "scannet", "recipe": DEEP},
    ),
    "votenet.tar": (
        votenet(), "model_state_dict", {"backbone": "votenet", "dataset": "scannet", "evaluation": "detection"},
    ),
    "mm3dscene_detection.tar": (
        votenet(channels=4), "model_state_dict",
        {"backbone": "votenet_color_height", "dataset": "scannet", "evaluation": "detection"},
    ),
    "h3dnet.tar": (
        h3dnet(), "model_state_dict", {"backbone": "h3dnet", "dataset": "scannet", "evaluation": "detection"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MM3D_PROFILE", raising=False)


def save(name: str) -> Path:
    """As the released program saved it, with the NumPy numbers that such files hold."""
    state, where, _ = RELEASES[name]
    torch.save({"epoch": 90, where: state, "best_iou": np.float64(0.7), "is_best": np.bool_(True)}, name)
    return Path(name)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    status = cli.main(["import", *words])
    told = capsys.readouterr()
    assert status == 0, told.err
    return told.out


@pytest.mark.parametrize("name", RELEASES)
def test_a_released_encoder_comes_in_and_can_be_started_from(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    choices = RELEASES[name][2]
    words = [f"{key}={value}" for key, value in choices.items() if key in ("backbone", "dataset")]
    if choices.get("recipe"):
        words.remove("dataset=scannet")  # this backbone is of one data set, which is found
    out = said(capsys, str(save(name)), *words, "out=mine.safetensors")
    assert "the encoder is whole" in out
    assert "missing   0" in out
    config = compose(split_request({**choices, "profile": "paper"}))
    encoder = check_fit(Path("mine.safetensors"), config)
    load_weights(encoder, Path("mine.safetensors"))
    told = read_description(Path("mine.safetensors"))
    assert (told.holds, told.name) == ("encoder", choices["backbone"])
    assert list(told.inputs) == config["backbone"]["input"]
    assert told.sampling.voxel == config["recipe"]["pretrain"].get("voxel")
    assert told.scaling == ({"color": (2.0, -1.0)} if name == "stratified_scannet.pth" else {})
    assert ("learned to read color" in out) == bool(told.scaling)


def test_what_is_known_stands_on_the_card_and_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    known = ("from=https://example.org/a?b=c,d", "licence=CC BY-NC 4.0", "trained_on=ScanNetv2: train, [val]")
    source = save("votenet.tar")
    out = said(capsys, str(source), "backbone=votenet", *known, "note=see README: part 2")
    assert "does not know" not in out
    card = yaml.safe_load(Path("encoder.card.yaml").read_text())
    assert card["from"] == "https://example.org/a?b=c,d"
    assert card["trained_on"] == "ScanNetv2: train, [val]"
    assert card["note"] == "see README: part 2"
    assert card["sha256"] == sha256_of(Path("encoder.safetensors"))
    assert card["released"]["sha256"] == sha256_of(source)
    assert card["released"]["taken"] == len(read_weights(Path("encoder.safetensors")))
    assert read_description(Path("encoder.safetensors")).data["licence"] == "CC BY-NC 4.0"


def test_what_nobody_said_is_unknown_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, str(save("votenet.tar")), "backbone=votenet")
    assert "the card does not know: from, licence, trained_on" in out
    assert yaml.safe_load(Path("encoder.card.yaml").read_text())["licence"] == "unknown"


def test_every_name_is_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, str(save("votenet.tar")), "backbone=votenet", "--names")
    assert "backbone_net.sa1.mlp_module.layer0.conv.weight -> sa1.mlp.linears.0.weight" in out
    assert all(name.removeprefix("module.") in out for name in RELEASES["votenet.tar"][0])


def test_the_encoder_of_a_model_of_this_suite_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    choices = {"backbone": "point_transformer", "dataset": "s3dis", "profile": "smoke"}
    encoder = build_encoder(Backbone.of(compose(split_request(choices))))
    model = {f"encoder.{name}": value for name, value in encoder.state_dict().items()} | {"head.0.bias": torch.ones(3)}
    save_weights(Path("model.safetensors"), model)
    out = said(capsys, "model.safetensors", "backbone=point_transformer", "backbone.encoder.channels=[16,32,64]",
               "backbone.encoder.depths=[1,1,1]", "backbone.encoder.decoder_depths=[1,1,1]",
               "backbone.encoder.neighbors=[8,8,8]", "backbone.encoder.strides=[1,4,4]")  # fmt: skip
    assert "left out  1: head.0.bias" in out
    taken = read_weights(Path("encoder.safetensors"))
    assert all(torch.equal(value, taken[name]) for name, value in encoder.state_dict().items())


class Trap:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('unpickled')",))


def trap(path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, path)


def plain(path: Path) -> None:
    torch.save(votenet(), path)


def not_finite(path: Path) -> None:
    torch.save(votenet() | {"backbone_net.sa1.mlp_module.layer0.bn.bn.bias": torch.full((64,), torch.inf)}, path)


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (None, ["backbone=votenet"], "there is no such"),
        (lambda path: path.write_bytes(b"not a checkpoint"), ["backbone=votenet"], "cannot be read"),
        (trap, ["backbone=point_transformer"], "cannot be read as plain tensors"),
        (lambda path: torch.save({"epoch": 3}, path), ["backbone=votenet"], "holds no network weights"),
        (plain, [], "backbone=NAME; choose one of h3dnet"),
        (plain, ["backbone=votnet"], "did you mean votenet"),
        (plain, ["backbone=point_transformer"], "holds no PointTransformer"),
        (plain, ["backbone=votenet_color"], "another width"),
        (plain, ["backbone=votenet", "out=encoder.pth"], "end the name with .safetensors"),
        (plain, ["backbone=votenet", "backbone.encoder.radiuses=[1]"], "did you mean radii"),
        (plain, ["backbone"], "key=value"),
        (not_finite, ["backbone=votenet"], "not finite"),
    ],
    ids=[
        "missing", "garbage", "pickle", "nothing", "unnamed", "mistyped", "foreign", "inputs", "suffix", "key", "word",
        "inf",
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(make, words, message, capsys: pytest.CaptureFixture[str]) -> None:
    if make:
        make(Path("released.pth"))
    assert cli.main(["import", "released.pth", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in Path.cwd().iterdir()) == (["released.pth"] if make else [])


def test_what_is_there_is_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    source = save("votenet.tar")
    Path("encoder.safetensors").write_bytes(b"mine")
    assert cli.main(["import", str(source), "backbone=votenet"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert Path("encoder.safetensors").read_bytes() == b"mine"
