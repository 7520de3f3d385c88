"""What a worker imports beforehand is what its runs would otherwise import one by one."""

from __future__ import annotations

import subprocess
import sys

import toy

from mm3d_benchmarks.launching.choose import modules_of

CHILD = """
import importlib, sys, torch
for name in sys.argv[1:]:
    importlib.import_module(name)
before = set(sys.modules)
torch.optim.AdamW(torch.nn.Linear(2, 2).parameters())
print(len(set(sys.modules) - before))
"""


def imported_by_an_optimizer(preload: list[str]) -> int:
    """How many modules torch still imports when the first optimizer is made."""
    done = subprocess.run([sys.executable, "-c", CHILD, *preload], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_a_run_that_trains_finds_all_that_its_optimizer_imports():
    spec = toy.spec("finetune", recipe={"finetune": {"optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.1}}})
    assert imported_by_an_optimizer([name for name in modules_of([spec]) if name.startswith("torch")]) < 10


def test_a_run_that_does_not_train_waits_for_no_optimizer():
    assert "torch._dynamo" not in modules_of([toy.spec("evaluate")])
