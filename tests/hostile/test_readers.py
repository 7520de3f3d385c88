"""Whatever arrives in place of an honest file ends in an error that names it, or in nothing worse than what it says.

Each reader gets mutated files in a process of its own (``attack.py``), where it must not crash, hang, take more memory
than twice the file's size and 500 MB, execute anything, write outside of its folder, raise anything but the project's
own error, or accept what the format itself tells to be wrong. A violation's seed repeats it:

    PYTHONPATH=tests python -m hostile.attack FOLDER SEED 1 "CASE"
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hostile import attack
from hostile.cases import Case, all_cases
from hostile.damage import Mutation

from mm3d_core.errors import UserError

TESTS = Path(__file__).resolve().parents[1]
FIRST = int(os.environ.get("HOSTILE_SEED", "0"))
GROUPS = 4  # of the slow run: a process for each


def attacked(folder: Path, names: list[str], count: int, limit: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Summaries of some cases, and a sentence for each violation."""
    command = [sys.executable, "-m", "hostile.attack", str(folder), str(FIRST), str(count), *names]
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    violations = [
        f"{line['case']}, seed {line['seed']}, {line['file']}: {line['problem']}" for line in lines if "seed" in line
    ]
    if done.returncode:
        last = next((line["begin"] for line in reversed(lines) if "begin" in line), "the start")
        violations.append(f"{last}: ended with status {done.returncode}\n{done.stderr[-3000:]}")
    return [line for line in lines if "inputs" in line], violations


def test_fifty_mutations_of_every_file_that_is_read(tmp_path: Path) -> None:
    names = list(all_cases())
    summaries, violations = attacked(tmp_path, names, 50, 600)
    assert violations == []
    assert [summary["case"] for summary in summaries] == names
    assert all(summary["inputs"] == 50 for summary in summaries)


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_two_thousand_mutations_of_every_file_that_is_read(tmp_path: Path, group: int) -> None:
    names = list(all_cases())[group::GROUPS]
    summaries, violations = attacked(tmp_path, names, 2000, 3600)
    for summary in summaries:
        print(json.dumps({"first seed": FIRST, **summary}))
    assert violations == []
    assert all(summary["inputs"] == 2000 for summary in summaries)
    assert len(summaries) == len(names)


def make(work: Path) -> None:
    (work / "a.txt").write_text("1 2 3\n")


def misnamed(_: Path) -> None:
    raise UserError("something is wrong somewhere")


def hoard(_: Path) -> None:
    """Takes 560 MB straight from the system: what the process freed earlier could serve an array."""
    with mmap.mmap(-1, 560_000_000) as memory:
        memory[:: mmap.PAGESIZE] = b"1" * len(range(0, len(memory), mmap.PAGESIZE))


SINS = {
    "KeyError": lambda work: {}[work],
    "the message does not name the file": misnamed,
    "wrote outside of its folder": lambda work: (work / "elsewhere").touch(),
    "executed": lambda work: (work / "executed").mkdir(),
    "MB for a file": hoard,
    "took more than": lambda _: time.sleep(200),
}


@pytest.mark.parametrize("told", SINS)
def test_a_reader_that_breaks_a_promise_is_found_out(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attack, "SECONDS", 0.3 if told == "took more than" else 120)
    honest = [True]  # the first reading, of the file as it was made
    former = signal.signal(signal.SIGALRM, attack.stop)
    try:
        case = Case(
            "sinner", "text", ("a.txt",), make, lambda work: None if honest and honest.pop() else SINS[told](work)
        )
        summary = attack.attack(case, tmp_path, 0, 1)
    finally:
        signal.signal(signal.SIGALRM, former)
    assert summary["violations"] == 1
    assert told in capsys.readouterr().out


def test_a_file_that_contradicts_itself_may_not_be_accepted(tmp_path: Path) -> None:
    case = Case("", "ply", (), make, lambda _: None)
    assert attack.read(case, tmp_path, tmp_path / "a", Mutation(b"", hopeless=False)) == (None, False)
    assert "accepted" in str(attack.read(case, tmp_path, tmp_path / "a", Mutation(b"", hopeless=True))[0])
