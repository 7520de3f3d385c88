"""tools/install.py: which build of torch is chosen, on what machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("smi", "state", "backend"),
    [
        ('echo "GPU 0: NVIDIA A100 (UUID: GPU-1)"', "works", "auto"),
        ('echo "NVIDIA-SMI has failed" >&2; exit 9', "fails", "cpu"),
        (None, "missing", "cpu"),
    ],
)
def test_the_driver_decides_and_a_broken_one_is_told_apart(install, tmp_path, monkeypatch, capsys, smi, state, backend):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if smi is not None:
        program(tmp_path, "nvidia-smi", smi)
    program(tmp_path, "sbatch", "exit 0")
    assert install.driver_state() == state
    assert install.torch_backend("auto", lambda: True) == backend
    said = capsys.readouterr().out
    assert ("broken or not loaded" in said) == (state == "fails")
    assert ("MM3D_TORCH=cuda make install" in said) == (backend == "cpu")


def test_what_is_asked_for_is_installed_whatever_the_machine(install):
    assert install.torch_backend("cpu", lambda: True) == "cpu"
    assert install.torch_backend("cuda", lambda: True) is None
    assert install.torch_backend("cu126", lambda: True) == "cu126"


@pytest.mark.parametrize(
    ("wanted", "cuda", "fits"),
    [
        ("auto", "", True), ("auto", "12.6", True), ("cpu", "", True), ("cpu", "12.6", False),
        ("cuda", "", False), ("cuda", "13.0", True), ("cu126", "12.6", True), ("cu126", "13.0", False),
    ],
)  # fmt: skip
def test_an_installed_torch_stays_only_if_it_is_what_is_wanted(install, wanted, cuda, fits):
    assert install.fits(wanted, cuda) is fits


def test_another_word_is_refused(install, monkeypatch, tmp_path):
    monkeypatch.setenv("MM3D_TORCH", "rocm")
    with pytest.raises(SystemExit, match="choose auto, cpu, cuda"):
        install.install_torch(tmp_path / "python", ())
