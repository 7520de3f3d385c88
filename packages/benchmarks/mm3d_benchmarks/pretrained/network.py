"""A pre-trained encoder or a trained model in one line, and what it says of a scan.

encoder = load("runs/8f56298edfc2")
features = encoder.features("room.ply")          # (N, C), row i is point i of the file
segment = load("runs/1c2d...").segment("room.ply")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import torch
from torch import nn

from mm3d_benchmarks.loading.features import feature_width
from mm3d_benchmarks.pretrained.dense import dense, level_features
from mm3d_benchmarks.pretrained.description import Description, Sampling, read_description
from mm3d_benchmarks.pretrained.released import RELEASED, load_released
from mm3d_benchmarks.pretrained.scans import Reading, read_points
from mm3d_benchmarks.pretrained.seeds import TILE, Boxes, boxes_of, seed_features
from mm3d_benchmarks.pretrained.tables import Table
from mm3d_benchmarks.runs.device import chosen_device
from mm3d_benchmarks.runs.instantiate import instantiate, resolve
from mm3d_benchmarks.runs.training import weights_file
from mm3d_benchmarks.store.layout import ENCODER_WEIGHTS, MODEL_WEIGHTS, SPEC, read_json
from mm3d_benchmarks.supervision.probe import point_features, probed
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import load_weights

Level = Literal["finest", "all"] | int
MOST_POINTS = 80_000  # of a crop, where the description names no limit; the S3DIS recipes' own


def load(source: Path | str, device: str = "auto", modules: Sequence[str] = ()) -> Network:
    """A network with its weights, ready to be shown scans.

    Args:
        source: the folder of a run, a ``.safetensors`` file that describes itself, or a released checkpoint (``.pth``,
            ``.tar``) that the suite can import.
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
        modules: packages of your own whose networks the file may name; importing them runs their code.

    Raises:
        UserError: nothing there, a run without weights, a file that does not describe itself, of a newer version, of a
            foreign network, or whose tensors are not those of the network that it describes.
    """
    path = Path(source)
    where = torch.device(chosen_device(device))
    if path.suffix.lower() in RELEASED and path.is_file():
        description, network = load_released(path)
        return Network(description, network, where, str(path))
    file = path if path.is_file() else _weights_in(path)
    description = read_description(file, tuple(modules))
    network = build(description, file)
    load_weights(network, file)
    return Network(description, network, where, str(file))


def _weights_in(folder: Path) -> Path:
    """The weights of a run's folder: the model's where there is one, else the encoder's."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such run and no such file; `mm3d store ls` lists the runs")
    for name in (MODEL_WEIGHTS, ENCODER_WEIGHTS):
        if (folder / name).is_file():
            return weights_file(folder, name)
    before = (read_json(folder / SPEC) or {}).get("upstream") or {}
    way = (
        f"load the run that it scores, {folder.parent / before['finetune']}"
        if "finetune" in before
        else ("choose the folder of a finished pre-training or fine-tuning")
    )
    raise UserError(f"{folder}: holds neither {MODEL_WEIGHTS} nor {ENCODER_WEIGHTS}; {way}")


def build(description: Description, where: Path | str) -> nn.Module:
    """The network that a description describes, with fresh weights.

    Raises:
        UserError: a ``_target_`` that is no network, an option that its constructor does not know, or inputs of another
            width than the network reads.
    """
    width = feature_width(description.inputs)
    reads = description.encoder.get("in_channels", width)
    if reads != width:
        raise UserError(
            f"{where}: its encoder reads {reads} channels, but its inputs "
            f"{', '.join(description.inputs)} have {width}; restore the file"
        )
    for network in (description.encoder, description.head or {}):
        _check_networks(network, f"{where}: its network")
    try:
        encoder = instantiate(description.encoder, f"{where}: encoder")
        if description.head is None:
            return encoder
        return probed(instantiate(description.head, f"{where}: head", encoder=encoder), description.probe)
    except (RuntimeError, MemoryError, ArithmeticError, LookupError, AttributeError) as error:
        first = str(error).splitlines()[:1]
        raise UserError(
            f"{where}: its network cannot be built ({type(error).__name__}: {first}); restore it"
        ) from error


def _check_networks(value: Any, where: str) -> None:
    """Nothing but networks is built for a file."""
    if isinstance(value, dict):
        if "_target_" in value:
            found = resolve(str(value["_target_"]), where)
            if not (isinstance(found, type) and issubclass(found, nn.Module)):
                raise UserError(f"{where} {value['_target_']}: is no network (torch.nn.Module); restore the file")
        for part in value.values():
            _check_networks(part, where)


class Network:
    """A network that was trained by this suite, or imported: made by :func:`load`.

    All methods take a scan as a file of any format that is read (docs/own_scans.md), or as coordinates with their
    colors and normals; row i of every result is point i of the file or of the arrays. Rows that are no points
    (coordinates that are not finite, missing returns, strays far away) get NaN, or class -1.

    Scans may be of any size: they are voxelised and cut into overlapping crops of the size that the network was trained
    on, and what overlaps is averaged. Equal scans give equal results, on the CPU bit by bit.

    Attributes:
        description: what the file says: network, inputs, classes, method, data and their licence, run.
        module: the network itself, in evaluation mode on ``device``; ``module.encoder`` of a model.
        device: where it computes.
        source: the file, for messages.
    """

    def __init__(self, description: Description, module: nn.Module, device: torch.device, source: str) -> None:
        self.description, self.device, self.source = description, device, source
        self.module = module.to(device).eval().requires_grad_(False)

    def __repr__(self) -> str:
        told = self.description
        return f"<{told.name} {told.holds}, inputs {', '.join(told.inputs)}, from {self.source}>"

    @property
    def encoder(self) -> Encoder:
        """The part that pre-training learns."""
        module: Any = self.module
        return module if self.description.head is None else module.encoder

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of the features of each level, finest first."""
        return tuple(self.encoder.channels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the model tells apart, in the order of their numbers; empty for an encoder."""
        return self.description.classes

    def features(
        self,
        scan: Path | str | Any,
        color: Any = None,
        normal: Any = None,
        *,
        level: Level = "finest",
        every_point: bool = False,
        out: Path | str | None = None,
        voxel: float | None = None,
        max_points: int | None = None,
        progress: bool | None = None,
        **reading: Unpack[Reading],
    ) -> np.ndarray:
        """One feature vector for each point.

        Args:
            scan: a file, or (N, 3) coordinates in metres, z up.
            color, normal: (N, 3) for coordinates; colors in 0..255, or floats in [0, 1].
            level: ``finest``, ``all`` (all levels side by side, coarser ones interpolated at the points), or the number
                of a level, 0 being the finest. The levels of H3DNet are its four towers, VoteNet has one.
            every_point: show the network every point and not one of each voxel, as the published voting does; as many
                times slower as the fullest voxel has points. Detectors draw random points in any case.
            out: a ``.npy`` file to write instead of holding everything in memory; what is returned is mapped from it.
            voxel: metres, instead of the training's.
            max_points: of a crop, instead of the training's; fewer take less memory.
            progress: whether to show a bar; None: on a terminal.
            reading: see :class:`~mm3d_benchmarks.pretrained.scans.Reading`.

        Returns:
            (N, C) float32.

        Raises:
            UserError: a scan that cannot be read or lacks what the network reads, or no such level.
        """
        levels = self._levels(level)
        sampling = self._sampling(voxel, max_points)
        points = read_points(scan, color, normal, self.description.inputs, reading)
        table = Table(points, sum(self.channels[n] for n in levels), out)
        if self._has_seeds:
            found = seed_features(
                self.encoder, levels, points.scene, self.description.reads, sampling, self.device, progress=progress
            )
            return table.filled(found, np.arange(len(found)))
        encoder = self.encoder
        if level == "all":
            read = lambda shown: point_features(encoder, shown, True)  # noqa: E731
        else:
            read = lambda shown: level_features(encoder, shown, levels[0])  # noqa: E731
        inputs = self.description.reads
        return table.filled(*dense(encoder, read, points.scene, inputs, sampling, self.device, every_point, progress))

    @overload
    def segment(
        self, scan: Any, color: Any = None, normal: Any = None, *, probabilities: Literal[False] = False,
        every_point: bool = False, voxel: float | None = None, max_points: int | None = None,
        progress: bool | None = None, **reading: Unpack[Reading],
    ) -> np.ndarray: ...  # fmt: skip

    @overload
    def segment(
        self, scan: Any, color: Any = None, normal: Any = None, *, probabilities: Literal[True],
        every_point: bool = False, voxel: float | None = None, max_points: int | None = None,
        progress: bool | None = None, **reading: Unpack[Reading],
    ) -> tuple[np.ndarray, np.ndarray]: ...  # fmt: skip

    def segment(
        self,
        scan: Path | str | Any,
        color: Any = None,
        normal: Any = None,
        *,
        probabilities: bool = False,
        every_point: bool = False,
        voxel: float | None = None,
        max_points: int | None = None,
        progress: bool | None = None,
        **reading: Unpack[Reading],
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The class of each point.

        Args:
            scan, color, normal, voxel, max_points, progress, reading: see :meth:`features`.
            probabilities: also return those of all classes.
            every_point: as in :meth:`features`; better where a voxel is large and holds points of several classes.

        Returns:
            (N,) int64 numbers of :attr:`classes`, -1 for rows that are no points; with ``probabilities`` also (N, C)
            float32, rows that sum to 1: the softmax of the mean logits.

        Raises:
            UserError: the network is no segmentation model, and as :meth:`features`.
        """
        self._must_be("segmentation", "segment")
        sampling = self._sampling(voxel, max_points)
        points = read_points(scan, color, normal, self.description.inputs, reading)
        model: Any = self.module
        logits, cell = dense(
            self.encoder,
            lambda shown: model.predict(shown)["logits"],
            points.scene,
            self.description.reads,
            sampling,
            self.device,
            every_point,
            progress,
        )
        segment = points.spread(logits.argmax(axis=1)[cell], -1)
        if not probabilities:
            return segment
        shares = torch.from_numpy(np.asarray(logits)).softmax(1).numpy()
        return segment, points.spread(shares[cell], np.nan)

    def detect(
        self,
        scan: Path | str | Any,
        color: Any = None,
        normal: Any = None,
        *,
        min_score: float = 0.5,
        seed: int = 0,
        tile: float = TILE,
        progress: bool | None = None,
        **reading: Unpack[Reading],
    ) -> Boxes:
        """The objects in a scan.

        Args:
            scan, color, normal, progress, reading: see :meth:`features`.
            min_score: boxes below are left out; evaluations keep all above 0.05.
            seed: of the random points that the detector reads.
            tile: side in metres of the squares that larger scans are cut into, as large as the rooms it learned from.

        Raises:
            UserError: the network is no detector, and as :meth:`features`.
        """
        self._must_be("detection", "detect")
        told = self.description
        points = read_points(scan, color, normal, told.inputs, reading)
        return boxes_of(
            self.module, points.scene, told.reads, told.sampling, told.classes, self.device, min_score, seed, tile,
            progress,
        )  # fmt: skip

    @property
    def _has_seeds(self) -> bool:
        """Whether the encoder reads a fixed number of points and has features at seeds alone."""
        return self.description.sampling.num_points is not None and self.description.sampling.voxel is None

    def _sampling(self, voxel: float | None, max_points: int | None) -> Sampling:
        if (voxel is not None and voxel <= 0) or (max_points is not None and max_points < 1):
            raise UserError(f"voxel={voxel}, max_points={max_points}: must be positive")
        told = self.description.sampling
        points = max_points or told.max_points or MOST_POINTS
        return told if self._has_seeds else replace(told, voxel=voxel or told.voxel, max_points=points)

    def _levels(self, level: Level) -> list[int]:
        count = len(self.channels)
        if level == "all":
            return list(range(count))
        number = 0 if level == "finest" else level
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
            raise UserError(f"level={level}: is finest, all, or a number from 0 to {count - 1} ({self.source})")
        return [number]

    def _must_be(self, task: str, method: str) -> None:
        holds = self.description.holds
        if holds == task:
            return
        way = {"encoder": "features", "segmentation": "segment", "detection": "detect"}[holds]
        what = "a pre-trained encoder without a head" if holds == "encoder" else f"a {holds} model"
        raise UserError(
            f"{self.source}: is {what}, it cannot {method}; call {way}(...) on it (mm3d "
            f"{'features' if holds == 'encoder' else 'predict'}), or load a {task} model"
        )
