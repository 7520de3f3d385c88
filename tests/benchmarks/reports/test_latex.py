"""The LaTeX of a table: escaped, and it compiles in a plain article."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from benchmarks.reports.synthetic import TABLE_7, done, table_7_values
from benchmarks.reports.test_tables import table

from mm3d_benchmarks.reports.latex import all_tables, escape, to_latex

HOSTILE = '50% & _under_ #1 $x^2$ ~ \\input{/etc/passwd} {a} <b> "c" | ± × ✓ † η 日本 é'
pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-base)")


def compile_article(folder: Path, body: str) -> str:
    """The log of a run of pdflatex that must succeed."""
    (folder / "main.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def article(*tables: str) -> str:
    packages = r"\documentclass{article}\usepackage{booktabs,siunitx,graphicx}\begin{document}"
    return "\n".join([packages, *tables, r"\end{document}"])


def wide() -> dict:
    """Table 12's shape: the mean and thirteen classes."""
    classes = ("ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase")
    columns = ["mIoU", *(f"IoU/{name}" for name in (*classes, "board", "clutter"))]
    entry = {"cell": "T12-13", "row": "iv", "origin": "run", "source": "paper", **dict.fromkeys(columns, 71.9)}
    return {"columns": columns, "published": [entry]}


def test_no_character_of_a_name_survives_as_a_command():
    text = escape(HOSTILE)
    assert "\\input" not in text
    assert not re.search(r"(?<!\\)[%&#_]", text.replace("\\_", ""))
    assert escape("L_CSD") == r"$L_{\mathrm{CSD}}$"
    assert escape("日") == "[U+65E5]"


@pdflatex
@pytest.mark.parametrize("kind", ["plain", "hostile", "wide", "gain", "never run", "broken"])
def test_a_table_compiles_in_a_plain_article(tmp_path, kind):
    values = table_7_values()
    lines, changes = done(values), {}
    if kind == "hostile":
        described = {row: {HOSTILE: HOSTILE} for row in ("i", "ii", "iii", "iv")}
        changes = {"labels": {"i": HOSTILE}, "title": HOSTILE, "describe": described, "footnotes": [HOSTILE]}
    elif kind == "wide":
        changes = wide()
        lines = done({("iv", c): [50.0, 51.0] for c in changes["columns"]})
    elif kind == "gain":
        changes = {"show": "gain"}
    elif kind == "never run":
        lines = None
    elif kind == "broken":
        lines = [(*line[:3], "nan", "done", "bbbbbbbbbbb0") if line[0] == "iv" else line for line in lines][:-1]
    log = compile_article(tmp_path, article(to_latex(table(tmp_path, lines, **changes))))
    assert "Overfull" not in log


@pdflatex
def test_all_tables_compile_to_one_document(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.tex").write_text(to_latex(table(tmp_path / name, done(table_7_values()))))
    compile_article(tmp_path, all_tables(["one", "two"]))
    assert (tmp_path / "main.pdf").read_bytes().startswith(b"%PDF")


def test_numbers_stand_in_siunitx_columns_under_two_headings(tmp_path):
    text = to_latex(table(tmp_path, done(table_7_values())))
    assert r"S[table-format=2.1]" in text
    assert "Measured here" in text
    assert "Published" in text
    assert r"\bfseries 44.0" in text
    assert TABLE_7["table"]["title"] in text
