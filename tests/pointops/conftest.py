"""Which CPU kernels a test runs on: every flavor that was built and that this processor can run."""

from __future__ import annotations

import pytest
import torch

from pointops import _native


def flavors() -> list[str]:
    baseline = _native._open(_native._built().get("baseline"))
    if baseline is None:
        return ["reference"]
    return [name for name in _native._built() if baseline.pointops_supports(name.encode())]


@pytest.fixture(params=flavors())
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test once for each flavor."""
    library = _native._open(_native._built().get(request.param))
    monkeypatch.setattr(_native, "library", lambda: library)
    return request.param


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the test with one thread and with several."""
    monkeypatch.setattr(_native, "threads", lambda: request.param)
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
