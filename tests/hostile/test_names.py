"""Names that are markup, commands or formulas stay names: in the page, in Markdown, in LaTeX, in CSV and in figures."""

from __future__ import annotations

import copy
import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.reports.scans import prediction_picture, pretrain_picture, write_run
from benchmarks.reports.synthetic import TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.viewing.run_pictures import draw_reconstruction
from mm3d_core.errors import UserError

EVIL = (
    "</script></style></title><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\\input{/etc/passwd} \\write18{touch executed} ^^5cinput{x} % & _ # $x_1$ ~ { } \\",
    "$\\frac{ | a|b ` * [x](javascript:alert(1)) \"' onmouseover='alert(1)' <!--",
    "line\nbreak\r\nand\ttab \x00 \x1b[31m 日本 \u202e é",
)
NAMES = ("table_07_framework_ablation", "figure_04_data_efficiency", "figure_05_linear_probing")


class Page(HTMLParser):
    """What a browser would see: tags, attributes that act, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.acting: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            loads = name in ("src", "href") and not re.match(r"data:|#|[\w.-]+\.(csv|md|tex|pdf)$", value or "")
            if name.startswith("on") or loads:
                self.acting.append(f"{tag} {name}={value}")


def build(folder: Path, evil: tuple[str, ...] | None) -> Path:
    """A report whose every name is evil (None: plain); returns its folder."""
    words = evil or ("plain 1", "plain 2", "plain 3", "plain 4")
    lines = done(table_7_values())
    for name in NAMES:
        sweep: dict[str, Any] = copy.deepcopy(TABLE_7)
        table = sweep["table"]
        table |= {"title": words[0], "heading": words[1], "footnotes": list(words)}
        table["labels"] = dict(zip(("i", "ii", "iii", "iv"), words, strict=True))
        table["describe"] = {row: {words[2]: words[n]} for n, row in enumerate(("i", "ii", "iii", "iv"))}
        table["groups"] = [{"title": words[3], "rows": ["i", "ii"]}]
        for number, entry in enumerate(table["published"]):
            entry |= {"source": words[number], "note": words[number], "cell": f"{words[number]}{number}"}
        write_sweep(folder / "sweeps", name, sweep)
        broken = [*lines[:-1], (*lines[-1][:4], words[0], lines[-1][5])]  # an evil status
        origin = {"profile": "smoke", "datasets": {words[0]: words[1]}, "commits": list(words), "devices": list(words)}
        write_inputs(folder / "results", name, broken, {**origin, "footnotes": list(words)})
    for line in lines:
        picture = {**prediction_picture(0.1), "class_names": np.array(words)}
        write_run(
            folder / "runs", line[5], metrics={words[0]: 1.0}, upstream={"pretrain": "a" * 12}, pictures={"x": picture}
        )
        (folder / "runs" / line[5] / "config.yaml").write_text("\n".join(words))
    write_run(folder / "runs", "a" * 12, "pretrain", {words[2]: 0.5}, pictures={"y": pretrain_picture()})
    (folder / "docs").mkdir()
    (folder / "docs/deviations.md").write_text(
        "# T\n\n" + "\n\n".join(words) + "\n\n| a |\n|---|\n| " + words[0] + " |\n"
    )
    build_report(None, "smoke", folder / "results", folder / "sweeps", folder / "runs")
    return folder / "results/smoke"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("evil"), EVIL)


def test_the_page_of_evil_names_has_the_tags_of_a_page_of_plain_ones(evil: Path, tmp_path: Path) -> None:
    page = Page((evil / "index.html").read_text(encoding="utf-8"))
    plain = Page((build(tmp_path, None) / "index.html").read_text(encoding="utf-8"))
    assert page.acting == []
    loose = {"p", "em", "code", "strong", "li", "ul", "br", "td", "tr", "table", "div", "tbody", "thead", "th"}
    strange = {tag: n for tag, n in page.tags.items() if n != plain.tags.get(tag) and tag not in loose}
    assert strange == {}, "evil names made or hid elements"
    assert set(page.tags) <= set(plain.tags) | loose


def test_markdown_keeps_its_columns_and_has_no_markup_of_names(evil: Path) -> None:
    for path in evil.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(?!/?sup>)[a-zA-Z!/]", text), path.name
        assert "](javascript" not in text.replace("\\]", "")
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) <= 1, path.name


def test_latex_has_no_command_of_a_name(evil: Path) -> None:
    for path in evil.glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        own = path.name == "all_tables.tex"
        assert own or "\\input" not in text.replace("\\textbackslash{}input", ""), path.name
        assert "\\write18" not in text
        assert "^^" not in text
        assert all(sign.isprintable() or sign == "\n" for sign in text), path.name


def test_the_csv_has_as_many_fields_in_every_line(evil: Path) -> None:
    for path in evil.glob("table_*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            assert len({len(line) for line in csv.reader(stream)}) == 1, path.name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-base)")
def test_all_tables_of_evil_names_compile(evil: Path, tmp_path: Path) -> None:
    for path in evil.glob("*.tex"):
        shutil.copy(path, tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all_tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", EVIL)
def test_a_picture_of_a_scan_takes_any_title(name: str, tmp_path: Path) -> None:
    arrays = {**pretrain_picture(), "scan_color": None}
    arrays.pop("scan_color")
    draw_reconstruction(tmp_path / "x.png", arrays, name)
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.parametrize("stem", ["x}\\input{y", "a b", "<b>", "$x$", "%", "..\\x"])
def test_a_sweep_whose_file_name_is_a_command_is_refused(stem: str, tmp_path: Path) -> None:
    write_sweep(tmp_path, stem, TABLE_7)
    with pytest.raises(UserError, match="letters, digits"):
        load_sweep(tmp_path / f"{stem}.yaml")
