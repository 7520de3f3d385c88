"""The command line: help, and one clear error with status 1 for each kind of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mm3d_benchmarks.commands import data
from mm3d_benchmarks.commands import main as cli

COMMANDS = (
    "generate", "prepare", "plan", "run", "sweep", "collect", "report", "complete", "status", "store", "info", "view",
    "completion", "features", "predict", "import",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MM3D_STORE", "MM3D_PROFILE", "MM3D_LAUNCHER", "MM3D_MACHINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"mm3d {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "backbone=votnet"], "did you mean votenet"),
        (["run", "kind=train"], "kind=train"),
        (["run", "seed=1,2", "--dry-run"], "add -m"),
        (["run", "kind=pretrain", "pretrain=none", "--dry-run"], "nothing to pre-train"),
        (["run", "kind=pretrain", "dataset=s3dis"], "mm3d prepare dataset=s3dis"),
        (["run", "kind=pretrain", "dataset=folder", "dataset.path=nowhere"], "nowhere"),
        (["run", "--conf", "nowhere"], "there is no such folder"),
        (["run", "launcher.max_parallel=x y"], "launcher"),
        (["prepare"], "say which data set"),
        (["prepare", "dataset=scannet", "raw=nowhere"], "nowhere"),
        (["prepare", "dataset"], "key=value"),
        (["generate", "--profile", "paper"], "nothing to generate"),
        (["plan", "table_99"], "no such sweep"),
        (["sweep", "table_99"], "no such sweep"),
        (["status"], "nothing is planned"),
        (["store", "show", "abc"], "no single run 'abc'"),
        (["store", "gc", "--forget", "nowhere"], "asks for nothing here"),
        (["info", "backbone=nothing"], "there is no such file"),
        (["info", "seed=1,2"], "describes one run"),
        (["report", "--profile", "smoke", "--sweeps", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_status_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_the_former_name_of_generate_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["embed", "--profile", "paper"]) == 1
    assert "mm3d generate" in capsys.readouterr().err


def test_a_profile_with_the_former_word_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "profile_of", lambda name: {"data": {"source": "embedded", "raw": "raw"}})
    assert cli.main(["generate", "--profile", "mine"]) == 1
    assert "did you mean synthetic" in capsys.readouterr().err


def test_a_machine_file_with_an_unknown_setting_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweeps").mkdir()
    Path("sweeps/a.yaml").write_text(
        "runs: {base: {dataset: s3dis, pretrain: none}, each: [{row: r}]}\ntable: {columns: [mIoU]}\n"
    )
    manifest = tmp_path / "data/smoke/prepared/s3dis/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    for text, message in (
        ("launcher: {partitoin: x}", "partitoin"),
        ("machine: {gpus: 3}", "machine.gpus"),
        ("a: 1", "sections"),
    ):
        Path("machine.yaml").write_text(text)
        assert cli.main(["sweep", "a", "--machine", "machine.yaml"]) == 1
        assert message in capsys.readouterr().err


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["status", "--colour"])
    assert end.value.code == 2


def test_planning_and_reports_start_without_torch() -> None:
    code = (
        "import sys; from mm3d_benchmarks.commands import main; main.main(['sweep', '--dry-run']); "
        "print('torch' in sys.modules)"
    )
    sweeps = Path(__file__).resolve().parents[3] / "sweeps"
    Path("sweeps").symlink_to(sweeps)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert answer.stdout.splitlines()[-1] == "False", answer.stderr
    assert "distinct" in answer.stdout


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["kind=pretrain"], 8_631_234),
        (["kind=finetune", "dataset=s3dis"], 7_767_729),
        (["kind=finetune", "dataset=scannet"], 7_767_960),
        (["kind=finetune", "backbone=votenet", "dataset=scannet", "evaluation=detection"], 953_828),
        (["kind=pretrain", "backbone=votenet", "dataset=scannet", "evaluation=detection"], 1_486_826),
        (["kind=finetune", "backbone=h3dnet", "dataset=scannet", "evaluation=detection"], 4_740_278),
        (["kind=pretrain", "backbone=h3dnet", "dataset=scannet", "evaluation=detection"], 6_872_270),
        (["kind=evaluate", "backbone=stratified_transformer", "dataset=s3dis"], 8_022_970),
    ],
)
def test_info_counts_the_published_parameters(
    overrides: list[str], parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["info", "--json", "--profile", "paper", *overrides]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["parameters"] == parameters
    assert any(module["shapes"] for module in value["modules"])
