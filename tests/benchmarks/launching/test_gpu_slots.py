"""GPUs as places for runs: one run on each, each run sees its own."""

from __future__ import annotations

import pytest
import toy

from mm3d_benchmarks.launching.gpu_slots import GpuSlots
from mm3d_benchmarks.launching.local import LocalPool
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError


def test_each_run_gets_a_gpu_of_its_own_and_hands_it_back():
    slots = GpuSlots(["0", "1"])
    assert [slots.take("a"), slots.take("b"), slots.take("c")] == ["0", "1", None]
    slots.release("a")
    assert slots.take("c") == "0"


def test_runs_asked_for_beyond_the_gpus_share_them_evenly():
    slots = GpuSlots(["0", "1"], runs=4)
    assert [slots.take(key) for key in "abcde"] == ["0", "1", "0", "1", None]


def test_a_run_of_several_processes_gets_as_many_gpus_and_is_refused_where_there_are_fewer():
    slots = GpuSlots(["0", "1", "2"])
    assert slots.take("one") == "0"
    assert slots.take("two", 2) == "1,2"
    assert slots.take("three", 2) is None
    with pytest.raises(UserError, match=r"machine\.processes=4"):
        slots.take("four", 4)


def test_without_gpus_every_run_may_start():
    slots = GpuSlots([])
    assert [slots.take(key, 8) for key in "abc"] == ["", "", ""]


def test_the_pool_runs_one_run_a_gpu_and_shows_it_no_other(store: Store):
    specs = [toy.spec(value=float(i), steps=3, seconds=0.2) for i in range(4)]
    pool, most = LocalPool(store, None, gpus=["0", "1"]), 0
    runs = [store.register(spec) for spec in specs]
    pool.submit(runs)
    while not all(run.is_done for run in runs):
        pool.poll()
        most = max(most, sum(run.holder() is not None for run in runs))
    pool.close(cancel=False)
    seen = [(run.folder / "visible.txt").read_text() for run in runs]
    assert most == 2
    assert set(seen) == {"0", "1"}
    assert seen[0] != seen[1]
