"""What runs leave for the figures: what a pre-training sees and rebuilds of one scan, what an evaluation predicts."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mm3d_benchmarks.datasets.scene import PreparedDataset, Scene
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.loading import Sampling
from mm3d_core.files.atomic import atomic_write
from mm3d_core.methods.local_statistic import LocalStatistic
from mm3d_core.points import PointBatch
from mm3d_core.seeding import generator, numpy_generator

ARRAYS, PICTURE, VIEWS_PICTURE = "artefacts.npz", "reconstruction.png", "views.png"
PREDICTION = "prediction_{scene}.npz"
LADDER = (0.9, 0.7, 0.5, 0.3, 0.2)  # keep ratios of Figure 7, within the range that pre-training draws from
MAX_DRAWN = 20000  # points of one panel
MAX_KEPT = 40000  # points of a picture of a prediction


def save_artefacts(
    folder: Path, method: nn.Module, data: PreparedDataset, scene: str, sampling: Sampling, seed: int
) -> None:
    """Show one scan as the method sees it.

    A method with masks writes ``artefacts.npz`` (see :mod:`mm3d_core.methods.pictures`) and ``reconstruction.png``;
    another one ``views.png``: its views of the scan, beside the local statistic that masks would follow.

    Args:
        scene: the scan to show; it is sampled without augmentation.
    """
    views: Any = method.views
    plain = Sampling(sampling.inputs, (), sampling.voxel, sampling.max_points, sampling.num_points, sampling.shift)
    points = points_of(plain(data.load(scene), numpy_generator(seed, "artefacts")), sampling.inputs)
    if not (hasattr(method, "predict_points") and hasattr(views, "statistic")):
        draw_views(folder / VIEWS_PICTURE, views(points, generator(seed, "artefacts")), points, scene)
        return
    from mm3d_core.methods.pictures import mask_ladder, reconstruction_picture

    picture: Any = reconstruction_picture
    arrays = picture(method, points, generator(seed, "artefacts"))
    embed: Any = method.embed if views.statistic.needs_network else None
    device = next(method.parameters()).device
    ladder = mask_ladder(views, points.to(device), LADDER, generator(seed, "ladder"), embed)
    arrays |= {"ladder_kept": ladder["kept"], "ladder_ratios": np.array(LADDER)}
    save_arrays(folder / ARRAYS, arrays)
    draw_reconstruction(folder / PICTURE, arrays, scene)


def save_prediction(folder: Path, scene: Scene, prediction: Mapping[str, Any], class_names: Sequence[str]) -> None:
    """Write ``prediction_<scene>.npz``: coord, color, segment, prediction, statistic, class_names, and ``offset``.

    The offset (3 float64, metres) added to ``coord`` in double precision gives the coordinates of the raw scan.

    Args:
        prediction: what a segmentation protocol returned: ``segment`` or ``logits``, and ``index`` when not every point
            of the scene was predicted, in order.
    """
    predicted = prediction["segment"] if "segment" in prediction else prediction["logits"].argmax(1)
    rows = np.asarray(prediction.get("index", np.arange(scene.num_points)))
    shown = np.sort(numpy_generator(0, "prediction", scene.name).permutation(len(rows))[:MAX_KEPT])
    rows = rows[shown]
    arrays = {"coord": scene.coord[rows], "prediction": np.asarray(predicted)[shown].astype(np.int16)}
    if scene.color is not None:
        arrays["color"] = scene.color[rows]
    arrays["segment"] = np.full(len(rows), -1, np.int16) if scene.segment is None else scene.segment[rows]
    arrays["class_names"] = np.array(class_names)
    arrays["statistic"] = _statistic(arrays)
    arrays["offset"] = np.array(scene.offset)
    save_arrays(folder / PREDICTION.format(scene=scene.name), arrays)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` in one step."""
    buffer = io.BytesIO()
    compact: dict[str, Any] = {name: value if name == "offset" else _compact(value) for name, value in arrays.items()}
    np.savez_compressed(buffer, **compact)
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


def draw_reconstruction(path: Path, arrays: dict[str, np.ndarray], title: str) -> None:
    """Figures 2 and 8 from above and obliquely: scan, heat map, student's input, target, finest reconstruction."""
    panels = [
        ("scan", "scan"),
        ("statistic", "local statistic"),
        ("input", "input of the student"),
        ("target", "target"),
    ]
    levels = sorted(name for name in arrays if name.startswith("reconstruction_level"))
    panels += [(name, name.replace("_level", ", level ")) for name in levels[:1]]
    _draw(path, arrays, panels, f"{title}: what pre-training sees and rebuilds")


def draw_views(path: Path, views: Mapping[str, PointBatch], points: PointBatch, title: str) -> None:
    """The same for a method without masks: scan, heat map, and every view of the scan as a network reads it."""
    statistic = LocalStatistic(missing_color="drop")(points)
    arrays = {"scan": points.coord.numpy(), "statistic": statistic.numpy()}
    if "color" in points.attributes:
        arrays["scan_color"] = points.attributes["color"].float().numpy()
    for name, view in views.items():
        arrays[f"view_{name}"] = view.coord.numpy()
        if "color" in view.attributes:
            arrays[f"view_{name}_color"] = view.attributes["color"].numpy()
    panels = [
        ("scan", "scan"),
        ("statistic", "local statistic"),
        *((f"view_{name}", f"view: {name}") for name in views),
    ]
    _draw(path, arrays, panels, f"{title}: what pre-training sees")


def _draw(path: Path, arrays: Mapping[str, np.ndarray], panels: Sequence[tuple[str, str]], title: str) -> None:
    """Panels side by side, (array, heading) each.

    Every pre-training draws one: margins are fixed and headings stand in the figure, since a layout that is worked out,
    and titles that make way for axes which are off, double the time.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels), 4.2), dpi=110)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.92, wspace=0)
    figure.suptitle(title, parse_math=False)
    for number, (name, label) in enumerate(panels, start=1):
        axes: Any = figure.add_subplot(1, len(panels), number, projection="3d")
        frame = arrays[name] if name.startswith("view_") else arrays["scan"]  # views have been moved
        low, high = frame.min(axis=0), frame.max(axis=0)
        _scatter(axes, arrays, name)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        figure.text((number - 0.5) / len(panels), 0.88, label, ha="center", fontsize="large")
        axes.set_box_aspect(np.maximum(high - low, 1e-3), zoom=1.25)
        axes.view_init(elev=50, azim=-60)
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # equal arrays give equal bytes
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


def _scatter(axes: Any, arrays: Mapping[str, np.ndarray], name: str) -> None:
    """Points in their own color where it is known, else by height; the statistic by its ranks."""
    coord = arrays["scan" if name == "statistic" else name]
    step = max(1, len(coord) // MAX_DRAWN)
    rows = arrays[f"{name}_rows"] if f"{name}_rows" in arrays else np.arange(len(arrays["scan"]))
    if name == "statistic":
        color: Any = arrays["statistic"].argsort().argsort()[::step]
    elif f"{name}_color" in arrays:
        color = arrays[f"{name}_color"][::step].clip(0, 1)
    elif "scan_color" in arrays and len(rows) == len(coord):
        color = arrays["scan_color"][rows][::step].clip(0, 1)
    else:
        color = coord[::step, 2]
    size = float(np.clip(20000 / max(1, len(coord) // step), 1, 8))  # square points: dense scans need small ones
    axes.scatter(*coord[::step].T, c=color, s=size, linewidths=0, depthshade=False)


def _statistic(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) local statistic of the shown points, of coordinates and of colors where there are some."""
    coord = torch.from_numpy(np.ascontiguousarray(arrays["coord"], np.float32))
    color = {"color": torch.from_numpy(arrays["color"].astype(np.float32) / 255)} if "color" in arrays else {}
    return LocalStatistic(missing_color="drop")(PointBatch.single(coord, coord[:, :0], color)).numpy()


def _compact(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype == np.float64 else value
