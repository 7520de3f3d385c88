"""Training from Python: the lines of docs/training.md in a fresh folder, the command's keys, errors in a sentence."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mm3d_benchmarks import experiment
from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.store.asks import asks
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SHORT = ("kind=pretrain", "dataset=folder", "dataset.path=my_scans", "recipe.pretrain.steps=2")
QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(autouse=True)
def _fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with one colored scan and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MM3D_STORE", raising=False)
    random_numbers = np.random.default_rng(0)
    points = random_numbers.random((3000, 3)) * [4, 3, 2.5]
    points[:1500, 2] = 0.01 * random_numbers.random(1500)
    row = np.dtype([*((name, "f4") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))])
    vertices = np.zeros(len(points), row)
    for axis, name in enumerate("xyz"):
        vertices[name] = points[:, axis]
    vertices["red"] = vertices["blue"] = random_numbers.integers(0, 256, len(points))
    Path("my_scans").mkdir()
    write_ply(Path("my_scans/room.ply"), vertices)


def test_a_pretraining_gives_its_encoder_its_losses_and_its_log() -> None:
    done = experiment.run(experiment.compose(*SHORT), machine=QUIET)
    assert done.kind == "pretrain"
    assert done.folder == Path("runs") / done.key
    assert done.encoder == done.folder / "encoder.safetensors"
    assert read_weights(Path("runs") / done.key / "encoder.safetensors")
    assert done.model is None
    assert done.runs == {"pretrain": done.key}
    assert [record["step"] for record in done.log()] == [1, 2]
    assert done.metrics["loss"] == done.log()[-1]["loss"]
    assert [picture.name for picture in done.pictures] == ["reconstruction.png"]
    assert done.key in str(done)


def test_what_the_command_did_is_found_and_not_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *SHORT, "--profile", "smoke"]) == 0
    [key] = Store(Path("runs")).done()
    before = (Path("runs") / key / "encoder.safetensors").stat().st_mtime_ns
    done = experiment.run(experiment.compose(*SHORT), machine=QUIET)
    assert done.key == key
    assert (Path("runs") / key / "encoder.safetensors").stat().st_mtime_ns == before
    experiment.run(experiment.compose(*SHORT), machine=QUIET, again=True)
    assert (Path("runs") / key / "encoder.safetensors").stat().st_mtime_ns > before
    assert {key for ask in asks(Store(Path("runs"))) for key in ask.keys} == {key}, "nobody's garbage"


def test_the_callers_random_numbers_and_torch_settings_stay() -> None:
    wanted, mode = experiment.compose(*SHORT), torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    experiment.run(wanted, machine=QUIET)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert torch.get_deterministic_debug_mode() == 0
    torch.set_deterministic_debug_mode(mode)


def test_a_configuration_can_be_looked_at_before_anything_runs() -> None:
    wanted = experiment.compose("kind=pretrain", "backbone=votenet", "dataset=scannet", "evaluation=detection")
    assert (wanted.kind, wanted.profile) == ("pretrain", "smoke")
    assert wanted.config["backbone"]["encoder"]["samples"] == [256, 128, 64, 32]
    assert "samples:" in str(wanted)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("backbone=votnet",), "did you mean votenet"),
        (("seed=0,1",), "compose an experiment for each"),
        (("kind=train",), "kind=train"),
        (("recipe.pretrain.stps=3",), "did you mean steps"),
        (("kind=pretrain", "dataset=s3dis"), "mm3d prepare dataset=s3dis"),
        (("kind=pretrain", "dataset=folder", "dataset.path=nowhere"), "nowhere"),
        (("kind=pretrain", "dataset=folder", "dataset.path=my_scans", "backbone.input=[coord]"), "in_channels"),
    ],
)
def test_bad_input_is_one_error(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        experiment.run(experiment.compose(*words), machine=QUIET)


def test_settings_of_the_machine_are_checked() -> None:
    with pytest.raises(UserError, match=r"machine\.workes"):
        experiment.run(experiment.compose(*SHORT), machine={"workes": 2})


def test_the_lines_of_the_page_run_in_a_fresh_folder() -> None:
    """As a program, without the repository: what needs ``if __name__`` would break here."""
    own, synthetic = re.findall(
        r"^```python\n(from mm3d_benchmarks.*?|experiment.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    Path("lines.py").write_text(own)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "lines.py"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    encoder, loss = answer.stdout.splitlines()[-2:]
    assert Path(encoder).is_file()
    assert float(loss.split()[0]) > 0
    for line in re.findall(r"experiment\.\w+\(.*\)", synthetic):
        compile(line, "training.md", "exec")
    words = re.findall(r'"(\w+=\w+)"', synthetic)
    assert experiment.compose(*words).kind == "evaluate"


@pytest.mark.slow
def test_synthetic_scenes_and_an_evaluation_in_a_fresh_folder() -> None:
    lines = re.findall(r"^```python\n(experiment.*?)^```$", PAGE.read_text(), re.M | re.S)
    Path("lines.py").write_text("from mm3d_benchmarks import experiment\n" + lines[0])
    answer = subprocess.run([sys.executable, "lines.py"], capture_output=True, text=True, timeout=600, check=False)
    assert answer.returncode == 0, answer.stderr
    score, model = answer.stdout.split()[-2:]
    assert 0 <= float(score) <= 100
    assert Path(model).is_file()
