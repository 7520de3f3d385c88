"""The training's log and its mirrors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mm3d_core.errors import UserError
from mm3d_core.observing.log import TrainingLog
from mm3d_core.observing.logfile import read_log


def test_records_come_back_and_a_half_written_line_is_left_out(tmp_path: Path):
    log = TrainingLog(tmp_path, 0, 10, progress=False)
    log.write({"step": 1, "loss": 0.5})
    log.write({"step": 2, "loss": 0.25, "note": "text"})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 3, "lo')
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "note": "text"}]
    assert read_log(tmp_path / "nowhere") == []


def test_a_log_of_another_attempt_is_emptied_when_training_starts_anew(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    TrainingLog(tmp_path, 0, 10, progress=False).close()
    assert read_log(tmp_path) == []


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path):
    log = TrainingLog(tmp_path, 0, 10, progress=False)
    with pytest.raises(ValueError, match="JSON compliant"):
        log.write({"step": 1, "loss": float("nan")})
    log.close()


@pytest.mark.slow
def test_tensorboard_gets_the_numbers(tmp_path: Path):
    log = TrainingLog(tmp_path, 0, 10, tensorboard=True, progress=False)
    log.write({"step": 1, "loss": 0.5})
    log.close()
    assert [path.name.startswith("events") for path in (tmp_path / "tensorboard").iterdir()] == [True]


def test_wandb_gets_the_numbers_or_is_named_when_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"machine\.wandb"):
        TrainingLog(tmp_path, 0, 10, wandb="project", progress=False)
    sent: list = []
    fake = ModuleType("wandb")
    fake.init = lambda **options: SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        log=lambda values, step: sent.append((options["project"], step, values)), finish=lambda: sent.append("finished")
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    log = TrainingLog(tmp_path, 0, 10, wandb="project", progress=False)
    log.write({"step": 4, "loss": 0.5, "epoch": 0})
    log.close()
    assert sent == [("project", 4, {"loss": 0.5}), "finished"]
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 4, "loss": 0.5, "epoch": 0}


def test_the_bar_shows_only_on_request_or_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture):
    TrainingLog(tmp_path, 0, 10).close()
    assert capsys.readouterr().err == ""
    log = TrainingLog(tmp_path, 3, 10, progress=True)
    log.advance()
    log.close()
    assert "4/10" in capsys.readouterr().err
