"""Whatever arrives in place of an honest file ends in an error that names it, or in nothing worse than what it says.

Each reader gets mutated files in a process of its own (``attack.py``), where it must not crash, hang, take more memory
than twice the file's size and 500 MB, execute anything, write outside of its folder, raise anything but the project's
own error, or accept what the format itself tells to be wrong. A violation's seed repeats it:

    PYTHONPATH=tests python -m hostile.attack FOLDER SEED 1 "CASE"
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile.cases import all_cases

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


def test_a_reader_that_breaks_a_promise_is_found_out(tmp_path: Path) -> None:
    """The attack itself can tell."""
    from hostile.attack import read
    from hostile.cases import Case
    from hostile.mutations import Mutation

    def sin(work: Path) -> None:
        raise KeyError("x")

    def shrug(work: Path) -> None:
        raise UserError("something is wrong somewhere")

    file = tmp_path / "a.ply"
    found = [
        read(Case("", "ply", (), lambda _: None, reader), tmp_path, file, Mutation(b"", hopeless))[0] or "nothing"
        for reader, hopeless in ((sin, False), (shrug, False), (lambda _: None, True), (lambda _: None, False))
    ]
    assert [problem.split()[0] for problem in found] == ["KeyError", "the", "accepted,", "nothing"]
