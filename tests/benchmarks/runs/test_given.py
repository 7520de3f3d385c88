"""``pretrain=file``: the content is in the key and the place is not, provenance names it, what does not fit is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from benchmarks.small_runs import write_rooms

from mm3d_benchmarks import experiment
from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import split_request
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.runs.build import build_encoder
from mm3d_benchmarks.runs.configuration import Backbone
from mm3d_benchmarks.runs.given import run_given
from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.store.weights_card import card_path, sha256_of, write_card
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights, save_weights

QUIET = {"device": "cpu", "progress": False}
SHORT = ("dataset=s3dis", "recipe.pretrain.steps=2", "recipe.finetune.steps=2")
FILE = ("kind=finetune", *SHORT, "pretrain=file")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with prepared rooms, a finished pre-training and fine-tuning, and copies of their weights."""
    folder = tmp_path_factory.mktemp("given")
    write_rooms(folder / "data/smoke/prepared/s3dis", train=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = experiment.run(experiment.compose("kind=finetune", *SHORT), machine=QUIET)
        shutil.copyfile(str(done.encoder), "mine.safetensors")
        shutil.copyfile(str(done.model), "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("MM3D_STORE", raising=False)


def chain(path: str, **more: object) -> dict[str, str]:
    """Keys of a fine-tuning from a file and of what it starts from."""
    values = {"dataset": "s3dis", "pretrain": "file", "pretrain.path": path, "profile": "smoke"}
    return {kind: spec.key for kind, spec in Planner("smoke").chain(split_request(values | more), "finetune").items()}


def test_fine_tuning_from_the_file_is_fine_tuning_from_the_run() -> None:
    own = experiment.run(experiment.compose("kind=finetune", *SHORT), machine=QUIET)
    given = experiment.run(experiment.compose(*FILE, "pretrain.path=mine.safetensors"), machine=QUIET)
    assert own.key != given.key
    assert Path(str(given.encoder)).read_bytes() == Path("mine.safetensors").read_bytes()
    ours, theirs = read_weights(Path(str(own.model))), read_weights(Path(str(given.model)))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_content_is_in_the_key_and_the_place_is_not(tmp_path: Path) -> None:
    before = chain("mine.safetensors")
    shutil.copyfile("mine.safetensors", tmp_path / "elsewhere, [2].safetensors")
    assert chain(str(tmp_path / "elsewhere, [2].safetensors")) == before
    weights = read_weights(Path("mine.safetensors"))
    weights["down.0.norm.bias"] += 1
    save_weights(tmp_path / "other.safetensors", weights)
    other = chain(str(tmp_path / "other.safetensors"))
    assert other.keys() == before.keys()
    assert not set(other.values()) & set(before.values())


def test_seed_and_recipe_make_no_other_run_of_a_file() -> None:
    one, two = chain("mine.safetensors"), chain("mine.safetensors", **{"seed": 1, "recipe.finetune.steps": 3})
    assert one["pretrain"] == two["pretrain"]
    assert one["finetune"] != two["finetune"]


def test_provenance_names_the_file_its_hash_and_its_card() -> None:
    damaged("carded.safetensors", **{"down.0.norm.bias": torch.ones(16)})
    write_card(Path("carded.safetensors"), {"from": "https://example.org/weights", "licence": "MIT"})
    words = ("kind=evaluate", *SHORT, "pretrain=file", "pretrain.path=carded.safetensors")
    done = experiment.run(experiment.compose(*words), machine=QUIET)
    store = Store(Path("runs"))
    for key in done.runs.values():
        told = (store.run(key).read("provenance.json") or {})["weights"]
        assert told["file"] == "carded.safetensors"
        assert told["sha256"] == sha256_of(Path("carded.safetensors"))
        assert told["card"]["licence"] == "MIT"
        assert told["card"]["from"] == "https://example.org/weights"
    assert store.run(done.runs["pretrain"]).metrics()["given"] == told
    own = experiment.run(experiment.compose("kind=finetune", *SHORT), machine=QUIET)
    assert "weights" not in (store.run(own.key).read("provenance.json") or {})


def damaged(path: str, **changes: torch.Tensor) -> None:
    save_weights(Path(path), read_weights(Path("mine.safetensors")) | changes)


def other_network(path: str) -> None:
    config = compose(split_request({"backbone": "votenet", "dataset": "scannet", "evaluation": "detection", "profile": "smoke"}))
    save_weights(Path(path), build_encoder(Backbone.of(config)).state_dict())


def as_text(path: str) -> None:
    Path(path).write_text("not weights")


def with_strange_card(path: str) -> None:
    shutil.copyfile("mine.safetensors", path)
    write_card(Path("mine.safetensors"), {})
    card = yaml.safe_load(card_path(Path("mine.safetensors")).read_text())
    card_path(Path("mine.safetensors")).unlink()
    card_path(Path(path)).write_text(yaml.safe_dump(card | {"sha256": "0" * 64}))


def with_a_list_for_a_card(path: str) -> None:
    shutil.copyfile("mine.safetensors", path)
    card_path(Path(path)).write_text("- licence")


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (None, (), "there is no such file"),
        (lambda path: shutil.copyfile("model.safetensors", path), (), "mm3d import bad.safetensors backbone="),
        (lambda path: save_weights(Path(path), read_weights(Path("model.safetensors"))), (), "mm3d import bad.safetensors"),
        (as_text, (), "not a whole safetensors file"),
        (other_network, (), "is no encoder of backbone point_transformer"),
        (lambda path: damaged(path, extra=torch.zeros(2)), (), "has 1 more, extra"),
        (lambda path: damaged(path, **{"down.0.norm.bias": torch.full((16,), torch.nan)}), (), "not finite"),
        (lambda path: shutil.copyfile("mine.safetensors", path), ("backbone.input=[color,coord]",), "reads coord, color"),
        (lambda path: shutil.copyfile("mine.safetensors", path), ("backbone=stratified_transformer",), "is an encoder of"),
        (with_strange_card, (), "is the card of another file"),
        (with_a_list_for_a_card, (), "a weights card has lines"),
    ],
    ids=["missing", "model", "undescribed model", "text", "foreign", "more", "nan", "inputs", "backbone", "card", "list"],
)  # fmt: skip
def test_what_cannot_be_the_encoder_is_refused_in_one_line(make, more, message, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (Path("bad.safetensors"), card_path(Path("bad.safetensors"))):
        path.unlink(missing_ok=True)
    if make:
        make("bad.safetensors")
    before = set(Store(Path("runs")).done())
    words = ["run", *FILE, "pretrain.path=bad.safetensors", "seed=5", *more, "--profile", "smoke"]
    assert cli.main(words) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if message in line]
    assert len(lines) >= 1
    assert "Traceback" not in "".join(lines)
    assert set(Store(Path("runs")).done()) == before, "nothing was trained"


def test_a_file_must_be_named_and_a_checkpoint_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *FILE]) == 1
    assert "pretrain.path=encoder.safetensors" in capsys.readouterr().err
    Path("best.pth").write_bytes(b"")
    assert cli.main(["run", *FILE, "pretrain.path=best.pth"]) == 1
    assert "mm3d import best.pth backbone=point_transformer out=encoder.safetensors" in capsys.readouterr().err


def test_the_remedy_for_another_width_works(capsys: pytest.CaptureFixture[str]) -> None:
    wide = "backbone.encoder.channels=[32,64,128]"
    words = ["run", *FILE, "pretrain.path=mine.safetensors", "seed=6", wide, "--profile", "smoke"]
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert "another width" in error
    assert "key.bias is 16 for 32" in error
    remedy = re.findall(r"'(backbone\.encoder\.[^']+)'", error)
    assert remedy == ["backbone.encoder.channels=[16, 32, 64]"]
    assert cli.main([word for word in words if word != wide] + remedy) == 0


def test_a_file_that_changed_since_it_was_asked_for_is_refused(tmp_path: Path) -> None:
    shutil.copyfile("mine.safetensors", tmp_path / "moving.safetensors")
    values = {"dataset": "s3dis", "pretrain": "file", "pretrain.path": str(tmp_path / "moving.safetensors")}
    spec = Planner("smoke").chain(split_request(values), "finetune")["pretrain"]
    run = Store(tmp_path / "runs").register(spec)
    damaged(str(tmp_path / "moving.safetensors"), **{"down.0.norm.bias": torch.ones(16)})
    with pytest.raises(UserError, match="changed since it was asked for"):
        run_given(spec.effective_config(), run.folder)
    assert not run.is_done
    assert not (run.folder / "encoder.safetensors").exists()


def sweep(rows: list[dict[str, str]], baseline: str) -> Path:
    text = {
        "runs": {"base": {"dataset": "s3dis", "recipe": "point_transformer_s3dis"}, "each": rows, "cross": {"seed": "profile"}},
        "table": {"columns": ["mIoU"], "axis": "pretrain", "baseline": baseline},
    }  # fmt: skip
    Path("sweeps").mkdir(exist_ok=True)
    path = Path("sweeps/own.yaml")
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    return path


def test_a_file_is_a_row_of_a_sweep_with_a_footnote() -> None:
    rows = [
        {"row": "scratch", "pretrain": "none"},
        {"row": "ours", "pretrain": "mm3dscene"},
        {"row": "theirs", "pretrain": "file", "pretrain.path": "mine.safetensors"},
    ]
    for baseline in ("scratch", "ours"):
        plan = Planner("smoke").plan([load_sweep(sweep(rows, baseline))])
        assert [sorted(cell.runs) for cell in plan.cells["own"]][2] == ["evaluate", "finetune", "pretrain"]
        [note] = [note for note in plan.notes["own"] if "given" in note]
        assert note.startswith("Row theirs starts from weights that were given: mine.safetensors, SHA-256 ")
        assert "licence unknown" in note


def test_a_row_whose_network_differs_is_still_unfair() -> None:
    rows = [
        {"row": "scratch", "pretrain": "none"},
        {"row": "theirs", "pretrain": "file", "pretrain.path": "mine.safetensors", "recipe.finetune.steps": "9"},
    ]
    with pytest.raises(UserError, match=r"recipe\.finetune\.steps"):
        Planner("smoke").plan([load_sweep(sweep(rows, "scratch"))])


def test_a_dry_look_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *FILE, "pretrain.path=later.safetensors", "--dry-run"]) == 0
    assert "finetune" in capsys.readouterr().out
