"""Loading the kernels: which one runs is said, threads and forks change nothing, and the fallback works."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

import pointops
from pointops import _native, farthest_point_sampling, knn_query
from speed.pointops.clouds import room


def test_the_back_end_is_named():
    assert pointops.backend() in ("plain torch", *(f"C++ ({flavor})" for flavor in _native.FLAVORS))


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_environment_chooses_the_back_end():
    assert run("import pointops; print(pointops.backend())", POINTOPS_CPU="reference") == "plain torch"


def test_without_kernels_it_warns_once_and_runs_on_torch(monkeypatch):
    monkeypatch.setattr(_native, "_built", dict)
    _native.library.cache_clear()
    try:
        with pytest.warns(UserWarning, match="no C\\+\\+ kernels are installed"):
            assert pointops.backend() == "plain torch"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            idx, _ = knn_query(1, torch.rand(5, 3), torch.tensor([5]))
        assert idx[:, 0].tolist() == [0, 1, 2, 3, 4]
    finally:
        _native.library.cache_clear()


def test_any_number_of_threads_gives_the_same_bytes(kernels, monkeypatch):
    xyz = torch.from_numpy(room(6000, 1))
    offset, ends = torch.tensor([2000, 2500, 6000]), torch.tensor([500, 600, 1500])
    results = []
    for count in (1, 2, 5):
        monkeypatch.setattr(_native, "threads", lambda count=count: count)
        results.append((*knn_query(9, xyz, offset), farthest_point_sampling(xyz, offset, ends)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_search_after_its_parent_did():
    code = (
        "import os, torch, pointops\n"
        "from pointops import _native\n"
        "_native.threads = lambda: 2\n"
        "xyz, offset = torch.rand(20000, 3), torch.tensor([20000])\n"
        # bytes, not sums: torch's own OpenMP threads do not survive a fork
        "rows = lambda: pointops.knn_query(8, xyz, offset)[0].numpy().tobytes()\n"
        "want = rows()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if rows() == want else 1)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert run(code) == "0"
