"""What a worker imports beforehand, and what a run then need not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mm3d_benchmarks.launching.choose import modules_of
from mm3d_benchmarks.store.spec import RunSpec

TRAIN = """
import sys, torch
from mm3d_benchmarks.launching.put_off import put_off_compiler
put_off_compiler()
network = torch.nn.Linear(2, 2)
def step(optimizer):
    optimizer.zero_grad()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
before = set(sys.modules)
for make in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD):
    optimizer = make(network.parameters(), lr=0.1)
    step(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
assert len(set(sys.modules) - before) < 10, sorted(set(sys.modules) - before)
"""
USES = {
    "compiled": "assert torch.compile(lambda x: 2 * x, backend='eager')(torch.ones(2)).tolist() == [2.0, 2.0]",
    "submodule": "import torch._dynamo.utils as used; assert used is torch._dynamo.utils",
}
AFTERWARDS = """
assert type(sys.modules['torch._dynamo']) is type(sys) and torch._dynamo is sys.modules['torch._dynamo']
assert torch._dynamo.utils.__spec__.loader.get_source('torch._dynamo.utils')
torch.compile(step, backend='eager')(optimizer)
step(optimizer)
"""


def python(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_optimizer_brings_no_compiler():
    python(TRAIN)


@pytest.mark.parametrize("use", USES)
def test_the_compiler_is_there_as_soon_as_somebody_uses_it(use):
    python(TRAIN + USES[use] + AFTERWARDS)


def imported_for(*kinds: str) -> set[str]:
    return set(modules_of(RunSpec(kind, {"backbone": {"name": "some"}}, {}, {}, "", {"machine": {}}) for kind in kinds))


def test_a_worker_imports_what_describes_the_weights_of_its_trainings():
    assert "mm3d_benchmarks.pretrained.compose" in imported_for("finetune") & imported_for("pretrain")
    assert imported_for("evaluate") == {"mm3d_benchmarks.runs.evaluate"}


def test_a_worker_imports_the_drawing_only_for_pretrainings():
    assert "matplotlib.figure" in imported_for("pretrain")
    assert "matplotlib.figure" not in imported_for("finetune", "evaluate")
