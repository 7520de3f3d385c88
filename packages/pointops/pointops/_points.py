"""Coordinates as people have them, as the searches take them: packed, float32.

* (B, N, 3) is B scenes of N points each; their ends may be left out. Results are those of the packed batch.
* Half precision under autocast, where a network computes coordinates, is widened, which changes no value.
* float64: each scene is moved to the middle of its box in double and only then rounded, queries along with it. What is
  lost is half a float32 step at the rim of the scene: 0.24 micrometres in a scene of 10 metres, wherever it lies; plain
  rounding would lose up to 1.6 centimetres at map coordinates of 500 kilometres. A scene whose coordinates float32
  holds exactly stays where it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check

_HALVES = (torch.float16, torch.bfloat16)
_EXACT = (torch.float32, torch.float64)


def flat(xyz: Tensor, offset: Tensor | None) -> tuple[Tensor, Tensor]:
    """Packed points and their ends, in float32 or float64."""
    xyz, offset = _packed(xyz, offset, "xyz", "offset")
    return _widened(xyz), offset


def cloud(xyz: Tensor, offset: Tensor | None, together: bool = False) -> tuple[Tensor, Tensor]:
    """Packed points and their ends, in float32; ``together`` moves all scenes of float64 by the same."""
    xyz, offset = flat(xyz, offset)
    if xyz.dtype == torch.float64 and xyz.ndim == 2:
        ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
        xyz, _ = _centered(xyz, [xyz.shape[0]] if together else ends)
    return xyz, offset


def clouds(
    xyz: Tensor, offset: Tensor | None, new_xyz: Tensor | None, new_offset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Packed points and queries with their ends, in float32; without queries the points are asked for themselves."""
    if new_xyz is None or (new_offset is None and getattr(new_xyz, "ndim", 0) != 3):
        new_xyz, new_offset = xyz, offset
    own = new_xyz is xyz and new_offset is offset
    points, ends = _packed(xyz, offset, "xyz", "offset")
    queries, new_ends = (points, ends) if own else _packed(new_xyz, new_offset, "new_xyz", "new_offset")
    if new_xyz is xyz:
        queries = points
    if points.dtype == torch.float32 and queries.dtype == torch.float32:
        return points, ends, queries, new_ends
    one = queries is points
    points = _widened(points)
    queries = points if one else _widened(queries)
    if torch.float64 in (points.dtype, queries.dtype) and points.dtype in _EXACT and queries.dtype in _EXACT:
        points, queries = _together(points, ends, queries, new_ends)
    return points, ends, queries, new_ends


def _packed(xyz: Tensor, offset: Tensor | None, name: str, offset_name: str) -> tuple[Tensor, Tensor]:
    """(N, D) points and their (B,) ends."""
    _check.tensors(**{name: xyz})
    if xyz.ndim != 3:
        _check.tensors(**{offset_name: offset})  # pyright: ignore[reportArgumentType]
        return xyz, offset  # pyright: ignore[reportReturnType]
    ends = torch.arange(1, xyz.shape[0] + 1, device=xyz.device) * xyz.shape[1]
    if xyz.device.type != "cpu":
        _check.remember(ends, [scene * xyz.shape[1] for scene in range(1, xyz.shape[0] + 1)])
    if offset is not None and not (isinstance(offset, Tensor) and _check.known_ends(offset) == _check.known_ends(ends)):
        raise ValueError(
            f"{offset_name} must be None or the ends of {xyz.shape[0]} scenes of {xyz.shape[1]} points, "
            f"which {name} {tuple(xyz.shape)} holds"
        )
    return xyz.flatten(0, 1), ends


def _widened(xyz: Tensor) -> Tensor:
    """float32 for half precision under autocast."""
    return xyz.float() if xyz.dtype in _HALVES and torch.is_autocast_enabled(xyz.device.type) else xyz


def _together(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor]:
    """Points and queries moved alike; what has no scenes or axes to move by is left for the checks to refuse."""
    if xyz.ndim != 2 or new_xyz.ndim != 2 or xyz.shape[1] != new_xyz.shape[1]:
        return xyz, new_xyz
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    if new_xyz is xyz and new_offset is offset:
        moved, _ = _centered(xyz, ends)
        return moved, moved
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    return _centered(xyz, ends, new_xyz, new_ends)


def _centered(
    xyz: Tensor, ends: list[int], new_xyz: Tensor | None = None, new_ends: list[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Points, and queries if there are any, less the middle of their scene's points, in float32."""
    scene = _scenes(ends, xyz.shape[0], xyz.device)
    exact = _holds(xyz, scene, len(ends))
    middle = _middles(xyz.detach().double(), scene, len(ends))
    if new_xyz is None or new_ends is None:
        moved = (xyz.double() - middle.masked_fill(exact, 0.0)[scene]).float()
        return moved, moved
    new_scene = _scenes(new_ends, new_xyz.shape[0], new_xyz.device)
    middle = middle.masked_fill(exact & _holds(new_xyz, new_scene, len(ends)), 0.0)
    return (xyz.double() - middle[scene]).float(), (new_xyz.double() - middle[new_scene]).float()


def _scenes(ends: list[int], rows: int, device: torch.device) -> Tensor:
    """(rows,) int64 scene of each row."""
    bounds = torch.tensor(ends, dtype=torch.int64, device=device)
    return torch.searchsorted(bounds, torch.arange(rows, device=device), right=True)


def _holds(xyz: Tensor, scene: Tensor, scenes: int) -> Tensor:
    """(B, 1) whether float32 holds every coordinate of the scene exactly."""
    exact = (xyz.detach().float() == xyz.detach()).all(1).float()
    return torch.ones(scenes, device=xyz.device).scatter_reduce(0, scene, exact, "amin").unsqueeze(1) > 0


def _middles(xyz: Tensor, scene: Tensor, scenes: int) -> Tensor:
    """(B, D) middle of the box of each scene; 0 without points."""
    where = scene.unsqueeze(1).expand_as(xyz)
    low, high = (
        xyz.new_full((scenes, xyz.shape[1]), start).scatter_reduce(0, where, xyz, how)
        for start, how in ((torch.inf, "amin"), (-torch.inf, "amax"))
    )
    return torch.where(low <= high, low / 2 + high / 2, 0.0)
