"""What a step holds: the count of living bytes, the stretch to a recipe's size, and what is said about a full device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mm3d_benchmarks.commands.main import main
from mm3d_benchmarks.launching.out_of_memory import is_out_of_memory, out_of_memory
from mm3d_benchmarks.planning.compose import Request, compose
from mm3d_benchmarks.runs import memory
from mm3d_benchmarks.runs.memory import LiveBytes, StepMemory, estimate
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_core.errors import UserError

MEGABYTE = 2**20


def small(kind: str, **choices: str) -> dict:
    groups = {"backbone": "point_transformer", "dataset": "s3dis", "profile": "smoke", **choices}
    return compose(Request(groups, {"kind": kind}))


def test_bytes_count_while_they_live():
    with LiveBytes() as live:
        first = torch.zeros(MEGABYTE, dtype=torch.uint8)
        view = first[10:]
        assert live.now == MEGABYTE  # a view holds no memory of its own
        second = first + 1
        assert live.now == live.peak == 2 * MEGABYTE
        del first
        assert live.now == 2 * MEGABYTE  # the view keeps it
        del view
        assert live.now == MEGABYTE
        third = second.float()
    assert live.now == live.peak == 5 * MEGABYTE
    del second, third
    assert live.now == 0


def test_what_is_saved_for_backward_counts():
    weight = torch.zeros(1000, 1000, requires_grad=True)
    with LiveBytes() as live:
        out = (weight * 2).exp().exp()
        assert live.now == 2 * weight.nbytes  # the results of exp; the product under them is not needed again
        out.sum().backward()
    assert live.peak > 2 * weight.nbytes


@pytest.mark.parametrize(("kind", "slack"), [("pretrain", 0.4), ("finetune", 0.15)])  # masks keep shares that differ
def test_the_stretched_estimate_meets_a_larger_step(kind: str, slack: float, tmp_path: Path):
    config = small(kind)
    config["recipe"][kind] |= {"batch": 3, "max_points": 8000}
    guess = estimate(config)
    seen, peak, _ = memory._try(config, kind, 3, 8000, tmp_path)
    shown = guess.bytes_a_point * 8000 * 3
    assert guess.scenes == 3
    assert guess.of(3) == pytest.approx(peak, rel=slack)
    assert shown > 0.5 * guess.of(3), "points should be what costs"
    assert seen > 8000


def test_a_detector_holds_memory_by_the_scene():
    guess = estimate(small("finetune", backbone="votenet", dataset="scannet", evaluation="detection"))
    assert guess.bytes_a_scene > 10 * guess.bytes_a_point * guess.points


def test_accumulation_is_the_smallest_that_fits():
    held = StepMemory(scenes=12, points=1000, fixed=1e9, bytes_a_scene=0.0, bytes_a_point=1e6)
    assert held.of(12) == 13e9
    assert held.accumulation_for(13 * memory.SPARE) == 1
    assert held.accumulation_for(13 * memory.SPARE - 0.1) == 2
    assert held.accumulation_for(3 * memory.SPARE) == 6
    assert held.accumulation_for(2) is None
    assert "recipe.finetune.accumulation=6 fits, 2 scenes" in held.describe("recipe.finetune", 3.5)[1]
    assert "lower recipe.finetune.max_points" in held.describe("recipe.finetune", 1)[1]


def test_an_evaluation_has_no_step():
    with pytest.raises(UserError, match="kind=evaluate"):
        estimate(small("evaluate"))


def test_info_says_what_fits(capsys):
    words = ["info", "kind=finetune", "backbone=point_transformer", "dataset=s3dis", "--profile", "smoke"]
    assert main([*words, "--memory", "24"]) == 0
    printed = capsys.readouterr().out
    assert "memory: about" in printed
    assert "24 GB: recipe.finetune.accumulation=1 fits" in printed
    with pytest.raises(SystemExit):
        main([*words, "--memory", "-3"])
    assert "such as 24" in capsys.readouterr().err


def test_a_full_device_names_what_holds_less():
    config = {"recipe": {"finetune": {"batch": 12, "accumulation": 2, "max_points": 80000}}}
    told = out_of_memory(RunSpec("finetune", config, {}, {}, ""))
    assert "recipe.finetune.accumulation=3 holds 4" in told
    config["recipe"]["finetune"]["accumulation"] = 12
    assert "recipe.finetune.max_points" in out_of_memory(RunSpec("finetune", config, {}, {}, ""))
    assert "evaluation.protocol.max_points" in out_of_memory(RunSpec("evaluate", {}, {}, {}, ""))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
