"""``mm3d run --force`` computes again; what somebody works on, or what is queued, is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands import run as running
from mm3d_benchmarks.launching import slurm_queue
from mm3d_benchmarks.launching.by_hand import requests_of
from mm3d_benchmarks.launching.execute import FAILED
from mm3d_benchmarks.launching.outcome import DONE, Outcome
from mm3d_benchmarks.launching.slurm_place import Place
from mm3d_benchmarks.launching.slurm_queue import JobState
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.layout import write_result
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store

WORDS = ["kind=finetune", "dataset=s3dis", "pretrain=mm3dscene", "profile=smoke"]


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, dict[str, RunSpec]]:
    """A finished chain of two runs in the store of this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MM3D_STORE", raising=False)
    (tmp_path / "data/smoke/prepared/s3dis").mkdir(parents=True)
    (tmp_path / "data/smoke/prepared/s3dis/manifest.json").write_text("{}")
    store = Store(tmp_path / "runs")
    chain = Planner("smoke").chain(requests_of(WORDS, [])[0][0], "finetune")
    for spec in chain.values():
        run = store.register(spec)
        (run.folder / "checkpoint.pt").write_text("the end")
        write_result(run.folder, "evaluate", {"loss": 1.0})
    return store, chain


@pytest.mark.parametrize(("word", "again"), [("--force", {"finetune"}), ("--force=chain", {"pretrain", "finetune"})])
def test_a_forced_run_starts_from_nothing(
    done: tuple[Store, dict[str, RunSpec]], word: str, again: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, chain = done

    def instead(*arguments: object) -> list[Outcome]:
        for kind, spec in chain.items():
            there = [(store.run(spec.key).folder / name).exists() for name in ("metrics.json", "checkpoint.pt")]
            assert there == [kind not in again] * 2
            write_result(store.register(spec).folder, "evaluate", {"loss": 2.0})
        return [Outcome(spec, DONE, computed=True) for spec in chain.values()]

    monkeypatch.setattr(running, "ensure", instead)
    assert cli.main(["run", *WORDS, word]) == 0
    assert store.run(chain["finetune"].key).metrics()["metrics"]["loss"] == 2.0


@pytest.mark.parametrize("words", [["run", *WORDS, "--force"], ["store", "rm"]])
def test_a_run_at_work_or_in_the_queue_is_left_alone(
    done: tuple[Store, dict[str, RunSpec]],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, chain = done
    run = store.run(chain["finetune"].key)
    words = [*words, run.key] if words[0] == "store" else words
    with locks.hold(run.lock_file):
        assert cli.main(words) == 1
    assert "is being run by pid" in capsys.readouterr().err
    run.write("job.json", {"launcher": "slurm", "job": "7_3"})
    for answer in ({"7_3": JobState("PENDING")}, None):  # None: the queue is silent
        monkeypatch.setattr(slurm_queue, "job_states", lambda jobs, answer=answer: answer)
        assert cli.main(words) == 1
        assert "its job 7_3 is queued or running; `scancel 7_3` first" in capsys.readouterr().err
    assert run.is_done


def test_a_job_that_waited_while_its_code_was_edited_computes_nothing(store: Store) -> None:
    spec = toy.spec(value=1.0)
    run = store.register(RunSpec(spec.kind, spec.config, {}, {}, "code of yesterday", spec.local))
    assert Place(0, 1, 0, "").run(run.folder) == FAILED
    assert "was edited after it was sent" in (run.read("failure.json") or {})["error"]
    assert toy.starts(run.folder) == 0
