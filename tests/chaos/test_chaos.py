"""Nothing is lost: whatever is killed, the results are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from chaos.chaos import disturbed, table

from mm3d_benchmarks.store.store import Store

TESTS = Path(__file__).resolve().parents[1]
TOYS = str(TESTS / "toys")
sys.path.insert(0, TOYS)

CHAIN = """
import sys, toy
from pathlib import Path
from mm3d_benchmarks.launching.ensure import ensure
from mm3d_benchmarks.launching.local import LocalPool
from mm3d_benchmarks.store.store import Store
specs = []
for i in range(4):
    first = toy.spec(value=float(i), steps=15, seconds=0.03)
    specs += [first, toy.spec("finetune", {"pretrain": first.key}, value=10.0 + i, steps=15, seconds=0.03)]
if __name__ == "__main__":
    store = Store(Path(sys.argv[1]))
    outcomes = ensure(specs, store, LocalPool(store, 2), max_attempts=10**6)
    sys.exit(any(outcome.state != "done" for outcome in outcomes))
"""


def test_toy_runs_under_fire_end_with_the_results_of_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [TOYS, os.environ.get("PYTHONPATH", "")])))
    (tmp_path / "chain.py").write_text(CHAIN)
    store = Store(tmp_path / "runs")
    tally = disturbed(
        [sys.executable, "chain.py", str(store.root)], store, seed=3, kills=20, folder=tmp_path, longest_pause=0.4
    )
    assert sum(tally.values()) >= 10
    names: dict = {}
    exec(CHAIN.split("if __name__")[0], names)
    for spec in names["specs"]:
        expected = spec.config["value"] + (
            store.run(spec.upstream["pretrain"]).spec().config["value"] if spec.upstream else 0.0
        )
        assert store.run(spec.key).metrics()["metrics"]["mIoU"] == expected
        lines = [json.loads(line) for line in (store.run(spec.key).folder / "log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == 15


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_table_under_fire_is_byte_identical(tmp_path: Path, seed: int) -> None:
    different, tally = table(tmp_path, TESTS.parent / "sweeps", "table_07", seed, kills=30)
    assert different == []
    assert sum(tally.values()) >= 20
