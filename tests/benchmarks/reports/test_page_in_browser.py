"""The page in a real Chromium: no errors, tables sort, the viewer draws, a click recolors it, dark and narrow work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.reports.chromium import PROGRAM, Browser
from benchmarks.reports.scans import prediction_picture, pretrain_picture, write_run
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.reports.build import build_report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed (apt-get install chromium)")

NAME, DRAWN = "table_07_framework_ablation", "figure_05_bars"
MEAN_COLUMN = "[...document.querySelectorAll('#table_07_framework_ablation tbody tr')].map(r => r.cells[0].textContent)"
COLORS = """(() => { const c = document.getElementById('canvas'); const seen = new Set();
  const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
  let ink = 0; for (const p of d) { if (p !== 0xffffffff) { ink += 1; if (seen.size < 5000) seen.add(p); } }
  let sum = 0; for (const p of d) sum = (sum * 31 + p) % 4294967291;
  return {ink, kinds: seen.size, sum}; })()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page with a viewer."""
    root = tmp_path_factory.mktemp("page")
    write_sweep(root / "sweeps", NAME, TABLE_7)
    lines = done(table_7_values())
    write_inputs(root / "results", NAME, lines, SYNTHETIC)
    figure = {**TABLE_7, "figure": {"kind": "bars", "x": "pretrain"}}
    write_sweep(root / "sweeps", DRAWN, figure)
    provenance = {**SYNTHETIC, "places": {row: {"x": row, "series": "ours"} for row in ("i", "ii", "iii", "iv")}}
    write_inputs(root / "results", DRAWN, lines, provenance)
    write_sweep(root / "sweeps", "ours", TABLE_7)
    write_inputs(root / "results", "ours", lines, SYNTHETIC)
    for line in lines[:2]:
        write_run(root / "runs", line[5], metrics={"mIoU": 40.0}, upstream={"pretrain": "a" * 12})
    write_run(root / "runs", "a" * 12, "pretrain", {}, pictures={"artefacts": pretrain_picture()})
    write_run(root / "runs", lines[0][5], metrics={"mIoU": 1.0}, pictures={"room": prediction_picture(0.2)})
    build_report(None, "smoke", root / "results", root / "sweeps", root / "runs")
    return root / "results" / "smoke" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the module."""
    browser = Browser(tmp_path_factory.mktemp("chromium") / "profile")
    yield browser
    browser.close()


@pytest.fixture
def opened(page: Path, browser: Browser) -> Browser:
    """The page, loaded afresh, its viewer drawn."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    browser.evaluate("document.getElementById('viewer').scrollIntoView()")
    browser.wait("document.getElementById('canvas').dataset.drawn !== undefined")
    return browser


def test_the_page_loads_without_errors_and_without_a_request(opened, page):
    assert opened.errors == []
    assert [r for r in opened.requests if not r.startswith("data:")] == [page.resolve().as_uri()]
    assert opened.evaluate("document.querySelectorAll('table.sortable').length") >= 4
    assert opened.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_a_click_on_a_heading_sorts_and_a_third_restores(opened):
    click = "document.querySelectorAll('#table_07_framework_ablation thead tr:last-child button')[3].click()"
    original = opened.evaluate(MEAN_COLUMN)
    opened.evaluate(click)
    assert opened.evaluate(MEAN_COLUMN) == ["iv", "ii", "i", "iii"]
    opened.evaluate(click)
    assert opened.evaluate(MEAN_COLUMN) == ["iii", "i", "ii", "iv"]
    opened.evaluate(click)
    assert opened.evaluate(MEAN_COLUMN) == original


def test_the_viewer_draws_and_each_coloring_looks_different(opened):
    seen = []
    for mode in ("color", "label", "prediction", "statistic"):
        opened.evaluate(f"document.querySelector('#modes button[data-mode={mode}]').click()")
        opened.wait(f"document.getElementById('canvas').dataset.drawn === '{mode}'")
        seen.append(opened.evaluate(COLORS))
    assert all(picture["ink"] > 3000 for picture in seen)
    assert len({picture["sum"] for picture in seen}) == 4
    assert seen[1]["kinds"] == 4  # the classes of the made-up room
    assert "chair" in opened.evaluate("document.getElementById('legend').textContent") or seen[3]["kinds"] > 20


def test_dragging_turns_the_scan_and_a_double_click_brings_it_back(opened):
    before = opened.evaluate(COLORS)["sum"]
    box = opened.evaluate("(({x, y}) => ({x, y}))(document.getElementById('canvas').getBoundingClientRect())")
    x, y = box["x"] + 300, box["y"] + 200
    opened.mouse(("mousePressed", x, y), ("mouseMoved", x + 90, y + 20), ("mouseReleased", x + 90, y + 20))
    turned = "document.getElementById('canvas')"
    opened.wait(f"{COLORS}.sum !== {before}")
    opened.evaluate(f"{turned}.dispatchEvent(new MouseEvent('dblclick'))")
    opened.wait(f"{COLORS}.sum === {before}")
    opened.evaluate(f"{turned}.dispatchEvent(new WheelEvent('wheel', {{deltaY: -400, cancelable: true}}))")
    opened.wait(f"{COLORS}.sum !== {before}")


def test_a_link_to_a_run_opens_its_card_and_the_filter_hides_others(opened):
    opened.evaluate("document.querySelector('td.runs a').click()")
    opened.wait("document.querySelectorAll('details.card[open]').length === 1")
    opened.evaluate("(() => { const f = document.getElementById('filter'); f.value = 'nothing like this';"
                    " f.dispatchEvent(new Event('input')); })()")  # fmt: skip
    assert opened.evaluate("[...document.querySelectorAll('.card')].every(c => c.hidden)")


def test_no_link_dangles_and_no_id_is_given_twice(opened):
    ids = opened.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = opened.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))")
    assert len(targets) > 10
    assert set(targets) <= set(ids)


def test_the_contents_reach_every_table_and_picture_in_the_papers_order(opened):
    listed = opened.evaluate("[...document.querySelectorAll('#contents a')].map(a => a.hash.slice(1))")
    there = opened.evaluate("[...document.querySelectorAll('section, section > figure[id]')].map(e => e.id)")
    assert listed == there
    first = ["overview", "tables", NAME, "figures", f"picture_{DRAWN}", DRAWN, "ours", "table_ours", "viewer"]
    assert listed[: len(first)] == first


@pytest.mark.parametrize("width", [1280, 390])
def test_the_contents_stay_in_view_and_lead_there(page, browser, width: int):
    browser.open(page, width=width, height=800)
    browser.evaluate("document.documentElement.scrollTop = 1e6")
    box = "(({top, bottom}) => ({top, bottom}))(document.querySelector('#contents').getBoundingClientRect())"
    seen = browser.evaluate(box)
    assert seen["top"] < 800
    assert seen["bottom"] > 0
    browser.evaluate("document.querySelector('#contents details').open = true")
    browser.evaluate(f"document.querySelector('#contents a[href=\"#{NAME}\"]').click()")
    place = f"document.getElementById('{NAME}').getBoundingClientRect().top"
    browser.wait(f"{place} > -5 && {place} < 200")
    assert browser.evaluate("document.querySelector('#contents details').open") == (width > 1000)


def test_a_finger_scrolls_past_the_canvas_and_a_wheel_too_until_the_canvas_is_clicked(opened):
    canvas = "document.getElementById('canvas')"
    assert opened.evaluate(f"getComputedStyle({canvas}).touchAction") == "pan-y"
    wheel = f"{canvas}.dispatchEvent(new WheelEvent('wheel', {{deltaY: -400, cancelable: true}}))"
    opened.evaluate("document.activeElement.blur()")
    assert opened.evaluate(wheel)  # nobody prevented the page from scrolling
    opened.evaluate(f"{canvas}.focus()")
    assert not opened.evaluate(wheel)


def test_dark_mode_follows_the_system_and_the_button_overrides_it(page, browser):
    shade = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, dark=False)
    light = browser.evaluate(shade)
    browser.open(page, dark=True)
    assert browser.evaluate(shade) != light
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate(shade) == light


def test_on_a_narrow_screen_only_tables_scroll_sideways(page, browser):
    browser.open(page, width=360, height=740)
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.evaluate("document.querySelector('.wide').scrollWidth > document.querySelector('.wide').clientWidth")
    browser.wait("document.getElementById('canvas').dataset.drawn !== undefined")
    assert browser.evaluate("document.getElementById('canvas').clientWidth") > 300


def test_a_screenshot_can_be_kept(opened, tmp_path):
    opened.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
