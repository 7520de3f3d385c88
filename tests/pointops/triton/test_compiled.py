"""Every kernel compiles for the GPUs of the field, without one here, and stays within its registers."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

import pytest

if find_spec("triton") is None or sys.platform != "linux" or platform.machine() != "x86_64":
    pytest.skip("triton's ptxas is not installed", allow_module_level=True)

import triton

if tuple(int(part) for part in triton.__version__.split(".")[:2]) < (3, 4):
    pytest.skip("older versions compile by other names", allow_module_level=True)

from speed.pointops import compiled

CASES = dict(compiled.cases())


@pytest.mark.parametrize("architecture", compiled.ARCHITECTURES)
@pytest.mark.parametrize("name", CASES)
def test_registers_and_spills_stay_within_bounds(tmp_path, monkeypatch, name, architecture):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))  # compiled here and now
    case = CASES[name]
    used = compiled.usage(case, architecture)
    assert 0 < used.registers <= case.registers
    assert used.spills <= case.spills


def test_the_case_list_names_every_kernel():
    from triton.runtime.jit import JITFunction

    from pointops.triton import aggregate, features, norm, pruned, sampling, search, window

    kernels = {
        value
        for module in (aggregate, features, norm, pruned, sampling, search, window)
        for name, value in vars(module).items()
        if isinstance(value, JITFunction) and name.endswith("_kernel")
    }
    assert kernels == {case.kernel for case in CASES.values()}


def test_searches_and_samplings_are_compiled_without_fusion():
    for name, case in CASES.items():
        assert case.fused == (not name.startswith(("1-NN", "kNN", "FPS")))
