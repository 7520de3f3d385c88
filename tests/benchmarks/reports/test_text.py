"""The CSV and Markdown of a table."""

from __future__ import annotations

import csv
import io

from benchmarks.reports.synthetic import TABLE_7, done, table_7_values
from benchmarks.reports.test_tables import table

from mm3d_benchmarks.reports.text import to_csv, to_markdown


def test_the_csv_holds_every_number_and_where_it_is_from(tmp_path):
    lines = list(csv.DictReader(io.StringIO(to_csv(table(tmp_path, done(table_7_values()))))))
    last = lines[-1]
    assert (last["mIoU mean"], last["mIoU std"], last["mIoU delta"]) == ("44.000000", "2.000000", "3.000000")
    assert (last["mIoU published"], last["mIoU published delta"]) == ("71.9", "1.5")
    assert (last["published cell"], last["published source"]) == ("T7-04", "paper, Table 7")
    assert len(last["runs"].split()) == 3


def test_markdown_lines_have_equally_many_cells_whatever_the_names(tmp_path):
    labels = {"i": "a|b", "ii": "*x* [y](http://z)", "iii": "<script>alert(1)</script>", "iv": "`c`\nd"}
    text = to_markdown(table(tmp_path, done(table_7_values()), labels=labels))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}
    assert "<script>" not in text
    assert "[y](" not in text


def test_best_values_are_bold_and_footnotes_are_explained(tmp_path):
    lines = [
        (*line[:3], "nan", "done", "bbbbbbbbbbb0") if line[:3] == ("ii", "mIoU", 0) else line
        for line in done(table_7_values())
    ]
    text = to_markdown(table(tmp_path, lines))
    assert "**44.0 ± 2.0 (+3.0)**" in text
    assert "<sup>a</sup> seed 0: the metric is nan (run bbbbbbbbbbb0)" in text


def test_a_gain_table_shows_only_differences(tmp_path):
    published = [{"cell": "T1-S1", "row": "iv", "delta": {"mIoU": 1.5}, "origin": "run", "source": "paper, Table 1"}]
    changes = {"show": "gain", "hidden": ["i", "ii", "iii"], "published": published}
    text = to_markdown(table(tmp_path, done(table_7_values()), **changes))
    assert "| iv | MM-3DScene | L\\_PC, L\\_CSD | +3.0 | +3.0 | +1.5 | – | S1 |" in text
    assert TABLE_7["table"]["title"] in text
