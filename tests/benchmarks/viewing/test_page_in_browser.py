"""The page in a browser: it draws every panel from disk without network or complaint, and its controls turn it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.viewing.page import view_scene

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
OPTIONS = [
    "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1236,800", "--virtual-time-budget=4000",
    "--enable-logging=stderr",
]  # fmt: skip
PANEL = 236  # pixels that the controls take

# Does what a hand does, and writes what it saw into the page.
HAND = """<script>
const seen = () => {
  const p = new Uint8Array(4 * canvas.width * canvas.height);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, p);
  return p.reduce((sum, v, i) => (sum * 31 + v * (i % 97)) % 1000003, 7);
};
const drag = (button, x, y) => { for (const [kind, dx, dy] of [["down", 0, 0], ["move", x, y], ["up", x, y]]) {
  const where = { clientX: 400 + dx, clientY: 300 + dy, button, bubbles: true };
  canvas.dispatchEvent(new PointerEvent("pointer" + kind, where));
} };
const at = { start: seen() };
drag(0, 120, 40); at.turned = seen();
drag(2, 60, 10); at.moved = seen();
canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -300, cancelable: true })); at.zoomed = seen();
canvas.dispatchEvent(new MouseEvent("dblclick")); at.back = seen();
at.names = document.querySelectorAll(".name").length;
$("names").click(); at.bare = document.querySelectorAll(".name").length;
document.body.dataset.seen = JSON.stringify(at);
</script></html>"""

pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")


def browse(address: str, *options: str) -> tuple[str, list[str]]:
    """Standard output, and what the page wrote to the console."""
    run = subprocess.run([BROWSER, *OPTIONS, *options, address], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line and "GPU stall" not in line]


@pytest.fixture(scope="module")
def page(raw_scannet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    prepare_dataset("scannet", raw_scannet, folder / "prepared", quiet=True)
    return view_scene(folder / "prepared", "scene0000_00", folder / "view")[-1]


def test_color_labels_and_statistic_are_drawn_side_by_side(page: Path, tmp_path: Path) -> None:
    _, complaints = browse(page.as_uri(), f"--screenshot={tmp_path / 'page.png'}")
    assert complaints == []
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)[:, PANEL + 4 :]
    color, labels, statistic = np.array_split(picture, 3, axis=1)
    for panel in (color, labels, statistic):
        assert 0.05 < (panel.min(axis=2) < 240).mean() < 0.7
    floor = (np.abs(labels - [152, 223, 138]) < 4).all(axis=2)
    assert floor.mean() > 0.003  # in the color of ScanNet's palette
    red, blue = statistic[..., 0] - statistic[..., 2] > 120, statistic[..., 2] - statistic[..., 0] > 60
    assert min(red.mean(), blue.mean()) > 0.002


def test_one_panel_can_be_asked_for_in_the_address(page: Path, tmp_path: Path) -> None:
    browse(page.as_uri() + "#labels", f"--screenshot={tmp_path / 'page.png'}")
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)[:, PANEL + 4 :]
    middle = picture[:, picture.shape[1] // 3 : -picture.shape[1] // 3]
    assert (middle.min(axis=2) < 240).mean() > 0.1


def test_the_controls_turn_move_zoom_and_name(page: Path, tmp_path: Path) -> None:
    changed = tmp_path / "hand.html"
    changed.write_text(page.read_text().replace("</html>", HAND))
    text, complaints = browse(changed.as_uri(), "--dump-dom")
    assert complaints == []
    found = re.search(r'data-seen="([^"]*)"', text)
    assert found is not None
    seen = {k: int(v) for k, v in re.findall(r"(\w+)&quot;:(\d+)", found.group(1))}
    assert len({seen[k] for k in ("start", "turned", "moved", "zoomed")}) == 4
    assert seen["back"] == seen["start"]
    assert seen["names"] > 3 > seen["bare"] == 0
