"""The page's text: complete without scripts, escaped, self-contained, and the same on every build."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.reports.scans import prediction_picture, pretrain_picture, write_run
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.planning.figure_spec import PICTURES
from mm3d_benchmarks.reports.artefacts import find_artefacts
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.reports.page.cards import CARDS, card_html, load_cards
from mm3d_benchmarks.reports.page.clouds import NO_LABEL, pack
from mm3d_benchmarks.reports.page.markup import to_html

NAME = "table_07_framework_ablation"
EVIL = '</script><img src=x onerror="alert(1)">&'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Table 7 with a store behind it that left no pictures."""
    return make_project(tmp_path, pictures=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of Table 7 with pictures."""
    return build(make_project(tmp_path_factory.mktemp("project"), pictures=True))


def make_project(tmp_path: Path, pictures: bool) -> Path:
    """Sweeps, inputs and a store whose names are hostile."""
    sweep = {**TABLE_7, "table": {**TABLE_7["table"], "labels": {"iv": EVIL}, "title": f"Ablation {EVIL}"}}
    write_sweep(tmp_path / "sweeps", NAME, sweep)
    for kind in PICTURES if pictures else ():
        drawn = {"runs": {"each": [{"row": "iv"}]}, "table": {"columns": []}, "figure": {"kind": kind, "title": EVIL}}
        write_sweep(tmp_path / "sweeps", f"picture_{kind}", drawn)
        write_inputs(tmp_path / "results", f"picture_{kind}", [], {"runs": {"iv": ["a" * 12, "697632000000"]}})
    lines = done(table_7_values())
    write_inputs(tmp_path / "results", NAME, lines, SYNTHETIC)
    for line in lines:
        write_run(tmp_path / "runs", line[5], metrics={"mIoU": 40.0}, upstream={"pretrain": "a" * 12})
    write_run(tmp_path / "runs", "a" * 12, "pretrain", {EVIL: 0.5})
    if pictures:
        write_run(tmp_path / "runs", "a" * 12, "pretrain", {EVIL: 0.5}, pictures={"artefacts": pretrain_picture()})
        write_run(tmp_path / "runs", lines[-1][5], metrics={"mIoU": 1.0}, pictures={"room": prediction_picture(0.1)})
    (tmp_path / "runs" / lines[0][5] / "config.yaml").write_text(f"name: {EVIL}\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "deviations.md").write_text("# Title\n\n## Part\n\n| a | b |\n|---|---|\n| x <b> | `y` |\n")
    return tmp_path


def build(project: Path, name: str | None = None) -> str:
    build_report(name, "smoke", project / "results", project / "sweeps", project / "runs")
    return (project / "results" / "smoke" / "index.html").read_text(encoding="utf-8")


def test_the_page_holds_tables_figures_statistics_runs_and_deviations(page):
    assert "44.0 ± 2.0 (+3.0)" in page
    assert page.count("data:image/png;base64,") == 5  # one for each sweep with a figure, and the comparisons
    assert "Agreement with the order" in page
    assert page.count('<details class="card"') == 13
    assert "<td>x &lt;b&gt;</td>\n<td><code>y</code></td>" in page
    assert "must not be compared with the published columns" in page


def test_the_page_loads_nothing_from_anywhere(page):
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#|[\w.-]+\.(?:csv|md|tex|pdf)["'])""", page)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)


def test_no_name_becomes_markup(page):
    assert "<img src=x" not in page
    assert page.count("</script>") == 2


def test_equal_stores_give_equal_pages(project):
    assert build(project) == build(project, "page")


def test_incomplete_cells_are_listed_on_the_page(project):
    write_inputs(project / "results", NAME, done(table_7_values())[:-3], SYNTHETIC)
    assert "cells or inputs are incomplete" in build(project)


def test_a_card_tells_config_curve_metrics_and_what_rests_on_the_run(project):
    cards, more = load_cards(project / "runs", {"a" * 12: ["table: iv"], "f" * 12: ["table: i"]})
    assert more == 0
    assert [card.kind for card in cards] == ["pretrain", "unknown"]
    assert cards[1].missing == "not in this store"
    text = card_html(cards[0])
    assert "table: iv" in text
    assert "<polyline" in text
    assert "onerror=&quot;" in text or 'onerror="' not in text
    assert len(cards[0].curves["loss"]) == 40


def test_only_so_many_runs_get_a_card(tmp_path):
    uses = {f"{i:012x}": ["t"] for i in range(CARDS + 5)}
    cards, more = load_cards(tmp_path, uses)
    assert (len(cards), more) == (CARDS, 5)


def test_a_torn_log_line_does_not_hide_the_rest(tmp_path):
    write_run(tmp_path, "a" * 12, metrics={})
    with (tmp_path / ("a" * 12) / "log.jsonl").open("a") as stream:
        stream.write('{"step": 41, "lo')
    cards, _ = load_cards(tmp_path, {"a" * 12: ["t"]})
    assert len(cards[0].curves["loss"]) == 40


def test_packed_scans_keep_positions_to_a_tenth_of_a_millimetre(tmp_path):
    write_run(tmp_path, "a" * 12, pictures={"room": prediction_picture(0.2)})
    found = find_artefacts(tmp_path, {"a" * 12: "ours"}, [])
    packed = json.loads(json.dumps(pack(found)))[0]
    grid = np.frombuffer(base64.b64decode(packed["coord"]), "<u2").reshape(-1, 3)
    coord = np.array(packed["low"]) + grid / 65535 * np.array(packed["size"])
    assert np.abs(coord - found[0].arrays["coord"]).max() < 2e-4
    assert set(packed["modes"]) == {"color", "label", "prediction", "statistic"}
    labels = np.frombuffer(base64.b64decode(packed["modes"]["label"]), np.uint8)
    assert np.array_equal(labels, found[0].arrays["segment"])
    assert packed["classes"] == ["floor", "wall", "table", "chair"]


def test_points_without_a_label_are_told_apart(tmp_path):
    picture = prediction_picture(0.0)
    picture["segment"][:10] = -1
    write_run(tmp_path, "a" * 12, pictures={"room": picture})
    packed = pack(find_artefacts(tmp_path, {"a" * 12: "ours"}, []))[0]
    assert np.frombuffer(base64.b64decode(packed["modes"]["label"]), np.uint8)[:10].tolist() == [NO_LABEL] * 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nA *b* **c** `d*e*`", "<p>A <em>b</em> <strong>c</strong> <code>d*e*</code></p>"),
        ("## Part", "<h3>Part</h3>"),
        ("- one\n- two\n  more", "<ul><li>one</li><li>two more</li></ul>"),
        ("```\n<b>\n```", "<pre><code>&lt;b&gt; </code></pre>"),
        ("[words](http://x.y)", "<p>words</p>"),
        ("<script>alert(1)</script> ![p](x.png)", "<p>&lt;script&gt;alert(1)&lt;/script&gt; !p</p>"),
        (
            "| a |\n|---|\n| `b` |",
            '<div class="wide"><table><thead><tr><th>a</th></tr></thead><tbody><tr><td><code>b</code>'
            "</td></tr></tbody></table></div>",
        ),
    ],
)
def test_documents_become_html(text, expected):
    assert to_html(text).replace(">\n<", "><").replace("\n", " ") == expected


def test_only_files_that_are_there_are_linked(project: Path) -> None:
    assert f'href="{NAME}.csv"' in build(project)
    for end in ("csv", "md", "tex"):
        (project / "results" / "smoke" / f"{NAME}.{end}").unlink()
    assert f'href="{NAME}.' not in build(project, "page")
