"""The notebooks of docs/ run from top to bottom in an empty folder, and are kept small, in order and without errors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from mm3d_benchmarks import experiment

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 250_000  # bytes of a notebook with its outputs


def cells(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def printed(cell: Any) -> str:
    return "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_it_ran_and_small(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    outputs = [out for cell in cells(path) for out in cell["outputs"]]
    assert {out["output_type"] for out in outputs} <= {"stream", "execute_result", "display_data"}
    assert all(out.get("name") != "stderr" for out in outputs), "warnings and bars are not kept"
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not re.search(r"/(root|home|tmp|Users)/", path.read_text(encoding="utf-8")), "nobody's folders"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files(path: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_words_of_the_notebook_are_known() -> None:
    text = "".join("".join(cell["source"]) for cell in cells(NOTEBOOKS[0]))
    words = re.findall(r'"([\w.]+=[\w.]+)"', text)
    assert len(words) > 5
    assert experiment.compose(*[word for word in words if word != "pretrain=random"]).kind == "pretrain"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_an_empty_folder(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    scores = re.findall(r"(\S.*?) +right +([\d.]+) % +mIoU +([\d.]+) %", printed(notebook.cells[-2]))
    assert [name for name, _, _ in scores] == ["coordinates, colors", "untrained", "pre-trained"]
    assert all(0 < float(value) < 100 for _, *values in scores for value in values)
    encoders = list(tmp_path.glob("runs/*/encoder.safetensors"))
    assert len(encoders) == 2, "pre-trained and untrained"
