"""mm3d features, predict, view of features and store describe: what they write, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks.pretrained.scan_files import write_scan
from benchmarks.pretrained.small_networks import cloud, described
from benchmarks.pretrained.test_description import run_chain
from PIL import Image
from safetensors.torch import load_file, save_file

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.commands.main import main
from mm3d_benchmarks.datasets.formats.ply import read_ply
from mm3d_benchmarks.datasets.scene import hash_file
from mm3d_benchmarks.pretrained.description import read_description
from mm3d_benchmarks.runs.training import weights_file
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.store import Run
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.files.sealed import seal


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coord, color = cloud(1200)
    coord[7] = np.nan
    return write_scan(tmp_path_factory.mktemp("scans") / "room.ply", coord + np.array([500_000, 0, 0]), color)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    asked = {"encoder": ("point_transformer", "pretrain"), "segmentor": ("point_transformer", "finetune")}
    asked |= {"detector": ("votenet", "finetune")}
    return {name: described(folder / name, *what) for name, what in asked.items()}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that must fail says on stderr."""
    assert main([*words]) == 1
    return capsys.readouterr().err


def test_features_are_written_row_by_row(files: dict[str, Path], room: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "features.npy"
    assert main(["features", f"run={files['encoder']}", f"scan={room}", f"out={out}", "device=cpu"]) == 0
    found = np.load(out)
    np.testing.assert_array_equal(found, pretrained.load(files["encoder"], "cpu").features(room, progress=False))
    assert np.isnan(found[7]).all()


def test_a_run_is_named_by_the_beginning_of_its_key(files: dict[str, Path], room: Path, tmp_path: Path) -> None:
    run, out = files["encoder"].parent, tmp_path / "f.npy"
    words = [f"run={run.name[:6]}", f"scan={room}", f"out={out}", "level=all", "--store", str(run.parent)]
    assert main(["features", *words]) == 0
    assert np.load(out, mmap_mode="r").shape == (1200, 16 + 32 + 64)


def test_classes_are_written_for_other_programs_and_to_look_at(
    files: dict[str, Path], room: Path, tmp_path: Path
) -> None:
    assert main(["predict", f"run={files['segmentor']}", f"scan={room}", f"out={tmp_path}"]) == 0
    names = {"room.ply", "room.labels.npy", "room.html", "room.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    labels = np.load(tmp_path / "room.labels.npy")
    model = pretrained.load(files["segmentor"], "cpu")
    np.testing.assert_array_equal(labels, model.segment(room, progress=False))
    assert labels[7] == -1
    table, _ = read_ply(tmp_path / "room.ply")
    points, _ = read_ply(room)
    kept = np.arange(1200) != 7
    np.testing.assert_array_equal(table["label"], labels[kept])
    np.testing.assert_allclose(table["x"], points["x"][kept], atol=1e-3)  # in the frame of the file
    palette = np.array(model.description.colors)
    np.testing.assert_array_equal(table["red"], palette[table["label"], 0])
    assert ((table["confidence"] > 0) & (table["confidence"] <= 1)).all()
    assert b"0=ceiling" in (tmp_path / "room.ply").read_bytes()[:600]
    assert "ceiling" in (tmp_path / "room.html").read_text()
    assert Image.open(tmp_path / "room.png").size[0] == 1800


def test_a_folder_of_scans_is_predicted_scan_by_scan(files: dict[str, Path], room: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        shutil.copy(room, tmp_path / "scans" / name / "room.ply")
    out = tmp_path / "out"
    words = [f"run={files['detector']}", f"scan={tmp_path / 'scans'}", f"out={out}", "min_score=0.05"]
    assert main(["predict", *words]) == 0
    found = sorted(path.name for path in out.glob("*.json"))
    assert len(found) == 2
    told = json.loads((out / found[0]).read_text())
    assert told["units"] == "metres"
    assert told["boxes"][0]["center"][0] > 499_000  # in the frame of the file
    assert set(told["boxes"][0]) == {"class", "score", "center", "size", "heading"}


def test_features_become_colors(files: dict[str, Path], room: Path, tmp_path: Path) -> None:
    assert main(["view", f"run={files['encoder']}", f"scan={room}", f"out={tmp_path / 'a'}"]) == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"room.features.html", "room.features.png"}
    assert main(["features", f"run={files['encoder']}", f"scan={room}", f"out={tmp_path / 'f.npy'}"]) == 0
    assert main(["view", f"features={tmp_path / 'f.npy'}", f"scan={room}", f"out={tmp_path / 'b'}"]) == 0
    first, second = ((tmp_path / name / "room.features.png").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["features", "scan=a.ply"], "say out=: mm3d features run=KEY|FILE scan=room.ply out=features.npy"),
        (["features", "out=f.npy"], "say scan="),
        (["predict", "scan=a.ply", "out=o"], "say run="),
        (["features", "run=abcdef", "scan=a.ply", "out=f.npy"], "no single run 'abcdef'"),
        (["features", "run=no/such.safetensors", "scan=a.ply", "out=f.npy"], "there is no such run and no such file"),
        (["view"], "mm3d view run=KEY scan=room.ply out=FOLDER"),
    ],
)
def test_what_is_missing_is_named(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in said(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_is_none_and_a_model_that_is_none_are_named(
    files: dict[str, Path], room: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = f"out={tmp_path / 'f.npy'}"
    assert "colour=: unknown" in said(capsys, "features", f"run={files['encoder']}", f"scan={room}", out, "colour=1")
    told = said(capsys, "predict", f"run={files['encoder']}", f"scan={room}", f"out={tmp_path}")
    assert "predicts no classes" in told
    assert "mm3d view run=" in told
    assert "there is no such file" in said(
        capsys, "predict", f"run={files['segmentor']}", "scan=nowhere", f"out={tmp_path}"
    )
    np.save(tmp_path / "other.npy", np.zeros((5, 3)))
    assert "has 1200 points" in said(capsys, "view", f"features={tmp_path / 'other.npy'}", f"scan={room}")


# ----------------------------------------------------------------------------- older weights


@pytest.fixture
def old(tmp_path: Path) -> dict[str, Run]:
    """A chain of runs as an older version of the suite left it: weights without metadata."""
    runs = run_chain(tmp_path)
    for kind, name in (("pretrain", layout.ENCODER_WEIGHTS), ("finetune", layout.MODEL_WEIGHTS)):
        run, path = runs[kind], runs[kind].folder / name
        save_file(load_file(path), path)
        (run.folder / layout.DESCRIPTION).unlink()
        write_json(run.folder / layout.METRICS, seal({**run.metrics(), "weights": {name: hash_file(path)}}))
    return runs


def test_older_weights_learn_to_describe_themselves(old: dict[str, Run], tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "runs")]
    with pytest.raises(UserError, match="mm3d store describe"):
        pretrained.load(old["pretrain"].folder)
    tensors = load_file(old["finetune"].folder / "model.safetensors")
    assert main(["store", *store, "describe"]) == 0
    for kind, name in (("pretrain", layout.ENCODER_WEIGHTS), ("finetune", layout.MODEL_WEIGHTS)):
        folder = old[kind].folder
        assert pretrained.load(folder, "cpu").description.run == old[kind].key
        assert old[kind].metrics()["weights"][name] == hash_file(weights_file(folder, name))
        assert not (folder / "describing.json").exists()
    again = load_file(old["finetune"].folder / "model.safetensors")
    assert all((again[name] == value).all() for name, value in tensors.items())
    before = (old["pretrain"].folder / "encoder.safetensors").read_bytes()
    assert main(["store", *store, "describe", old["pretrain"].key[:8]]) == 0  # and once more
    assert (old["pretrain"].folder / "encoder.safetensors").read_bytes() == before


def test_what_describe_adds_is_what_a_new_run_writes(old: dict[str, Run], tmp_path: Path) -> None:
    assert main(["store", "--store", str(tmp_path / "runs"), "describe"]) == 0
    new = run_chain(tmp_path / "new")
    for kind, name in (("pretrain", layout.ENCODER_WEIGHTS), ("finetune", layout.MODEL_WEIGHTS)):
        assert read_description(old[kind].folder / name) == read_description(new[kind].folder / name)


def test_a_description_that_was_interrupted_is_completed(
    old: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mm3d_benchmarks.pretrained import describe_old

    run = old["pretrain"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(describe_old, "write_json", killed)  # the file is new, its checksum is not
        with pytest.raises(KeyboardInterrupt):
            describe_old.describe_run(run)
    with pytest.raises(UserError, match="checksum"):
        weights_file(run.folder, layout.ENCODER_WEIGHTS)
    assert "describes itself now" in describe_old.describe_run(run)
    assert weights_file(run.folder, layout.ENCODER_WEIGHTS)


def test_foreign_weights_in_a_runs_folder_stay_refused(
    old: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old["pretrain"].folder / "encoder.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    store = ["store", "--store", str(tmp_path / "runs"), "describe"]
    assert "checksum does not fit" in said(capsys, *store)
    assert path.read_bytes() == bytes(data)
    assert pretrained.load(old["finetune"].folder, "cpu").classes  # the others were described
    assert "an evaluation leaves no weights" in said(capsys, *store, old["evaluate"].key)


def test_a_copy_is_described_by_its_run(
    old: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "mine.safetensors"
    shutil.copy(old["pretrain"].folder / "encoder.safetensors", copy)
    store = ["store", "--store", str(tmp_path / "runs"), "describe"]
    assert "its tensors are not those of run" in said(capsys, *store, old["finetune"].key, "--file", str(copy))
    assert main([*store, old["pretrain"].key, "--file", str(copy)]) == 0
    assert pretrained.load(copy, "cpu").description.run == old["pretrain"].key
    assert "name the one run" in said(capsys, *store, "--file", str(copy))
