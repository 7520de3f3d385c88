"""Named peers, imported only if installed. Each function does the whole job, its index included."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

DISTRIBUTIONS = {
    "scipy": "scipy",
    "pykdtree": "pykdtree",
    "pynanoflann": "pynanoflann",
    "open3d": "open3d",
    "torch-cluster": "torch_cluster",
    "fpsample": "fpsample",
    "torch-quickfps": "torch_quickfps",
}
HEIGHTS = (5, 7, 9)  # of bucket trees: the best counts


def installed() -> dict[str, Any]:
    """The modules of the peers that can be imported, by distribution."""
    found = {}
    for name, module in DISTRIBUTIONS.items():
        try:
            found[name] = import_module(module)
        except Exception:  # a broken peer is a missing peer
            continue
    return found


def versions(names: list[str]) -> str:
    """``name version`` of each, or that it is not installed."""
    present = installed()
    parts = [f"{name} {metadata.version(name)}" if name in present else f"{name} not installed" for name in names]
    return ", ".join(parts)


def knn(peers: dict[str, Any], cloud: np.ndarray, query: np.ndarray, k: int) -> dict[str, Callable[[], Any]]:
    """k nearest neighbors of ``query`` in ``cloud``."""
    work: dict[str, Callable[[], Any]] = {}
    if "scipy" in peers:
        work["scipy"] = lambda: _ckdtree()(cloud).query(query, k, workers=torch.get_num_threads())
    if "pykdtree" in peers:
        from pykdtree.kdtree import KDTree  # pyright: ignore

        work["pykdtree"] = lambda: KDTree(cloud).query(query, k)
    if "pynanoflann" in peers:
        work["pynanoflann"] = lambda: _nanoflann(peers["pynanoflann"], cloud, query, k)
    if "torch-cluster" in peers:
        x, y = torch.from_numpy(cloud), torch.from_numpy(query)
        work["torch-cluster"] = lambda: peers["torch-cluster"].knn(x, y, k)
    if "open3d" in peers:
        work["open3d"] = lambda: _open3d(peers["open3d"], cloud, query, k)
    return work


def ball(peers: dict[str, Any], cloud: np.ndarray, query: np.ndarray, radius: float, k: int) -> dict[str, Any]:
    """Up to k neighbors within ``radius``."""
    work: dict[str, Callable[[], Any]] = {}
    if "scipy" in peers:
        work["scipy"] = lambda: _ckdtree()(cloud).query_ball_point(query, radius, return_sorted=True)
    if "pykdtree" in peers:
        from pykdtree.kdtree import KDTree  # pyright: ignore

        work["pykdtree"] = lambda: KDTree(cloud).query(query, k, distance_upper_bound=radius)
    if "torch-cluster" in peers:
        x, y = torch.from_numpy(cloud), torch.from_numpy(query)
        work["torch-cluster"] = lambda: peers["torch-cluster"].radius(x, y, radius, max_num_neighbors=k)
    if "open3d" in peers:
        work["open3d"] = lambda: _open3d(peers["open3d"], cloud, query, k, radius)
    return work


def both_ways(peers: dict[str, Any], a: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Nearest neighbors from a to b and from b to a."""
    there, back = knn(peers, b, a, 1), knn(peers, a, b, 1)
    return {
        name: lambda name=name: (there[name](), back[name]())
        for name in ("scipy", "pykdtree", "open3d")
        if name in there
    }


def sampling(peers: dict[str, Any], clouds: list[np.ndarray], count: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """Farthest point sampling of each cloud; bucket trees come in several heights, of which the best counts."""
    work: dict[str, dict[str, Callable[[], Any]]] = {}
    stacked = torch.from_numpy(np.stack(clouds))
    if "torch-quickfps" in peers:
        quick = peers["torch-quickfps"].sample_idx
        work["torch-quickfps"] = {f"h={h}": lambda h=h: quick(stacked, count, h=h, start_idx=0) for h in HEIGHTS}
    if "fpsample" in peers:
        bucket = peers["fpsample"].bucket_fps_kdline_sampling
        work["fpsample"] = {f"h={h}": lambda h=h: [bucket(cloud, count, h=h) for cloud in clouds] for h in HEIGHTS}
    if "torch-cluster" in peers:
        flat = stacked.flatten(0, 1)
        batch = torch.arange(len(clouds)).repeat_interleave(stacked.shape[1])
        ratio = count / stacked.shape[1]
        fps = peers["torch-cluster"].fps
        work["torch-cluster"] = {"": lambda: fps(flat, batch, ratio=ratio, random_start=False)}
    return work


def point_transformer_plan(peers: dict[str, Any], cloud: np.ndarray) -> dict[str, Callable[[], Any]]:
    """All 13 searches and the sampling, which the peers too do once (the prefix property)."""
    work: dict[str, Callable[[], Any]] = {}
    if "scipy" in peers and "fpsample" in peers:

        def scipy_plan() -> None:
            order = peers["fpsample"].bucket_fps_kdline_sampling(cloud, len(cloud) // 4, h=7)
            levels = [cloud, *(cloud[order[: len(cloud) // 4**i]] for i in range(1, 5))]
            trees = [_ckdtree()(level) for level in levels]
            for i, (tree, level) in enumerate(zip(trees, levels, strict=True)):
                tree.query(level, 8 if i == 0 else 16)
                if i:
                    trees[i - 1].query(level, 16)
                    tree.query(levels[i - 1], 3)

        work["fpsample + scipy"] = scipy_plan
    if "torch-cluster" in peers:
        points = torch.from_numpy(cloud)
        work["torch-cluster"] = lambda: _cluster_plan(peers["torch-cluster"], points)
    return work


def votenet_plan(peers: dict[str, Any], cloud: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Four ball queries, two 3-NN searches and one sampling."""
    sizes, radii, most = (2048, 1024, 512, 256), (0.2, 0.4, 0.8, 1.2), (64, 32, 16, 16)
    work: dict[str, Callable[[], Any]] = {}
    if "scipy" in peers and "fpsample" in peers:

        def scipy_plan() -> None:
            order = peers["fpsample"].bucket_fps_kdline_sampling(cloud, 2048, h=5)
            levels = [cloud, *(cloud[order[:size]] for size in sizes)]
            for before, level, radius in zip(levels, levels[1:], radii, strict=False):
                _ckdtree()(before).query_ball_point(level, radius, return_sorted=True)
            for fine, coarse in ((levels[3], levels[4]), (levels[2], levels[3])):
                _ckdtree()(coarse).query(fine, 3)

        work["fpsample + scipy"] = scipy_plan
    if "torch-cluster" in peers:
        cluster, points = peers["torch-cluster"], torch.from_numpy(cloud)

        def cluster_plan() -> None:
            levels = [points]
            for size, radius, k in zip(sizes, radii, most, strict=True):
                before = levels[-1]
                levels.append(before[cluster.fps(before, ratio=size / len(before), random_start=False)])
                cluster.radius(before, levels[-1], radius, max_num_neighbors=k)
            for fine, coarse in ((levels[3], levels[4]), (levels[2], levels[3])):
                cluster.knn(coarse, fine, 3)

        work["torch-cluster"] = cluster_plan
    return work


def _cluster_plan(cluster: Any, points: Tensor) -> None:
    before = points
    cluster.knn(points, points, 8)
    for _ in range(4):
        level = before[cluster.fps(before, ratio=0.25, random_start=False)]
        cluster.knn(level, level, 16)
        cluster.knn(before, level, 16)
        cluster.knn(level, before, 3)
        before = level


def _ckdtree() -> Any:
    from scipy import spatial

    return spatial.cKDTree  # pyright: ignore


def _nanoflann(module: Any, cloud: np.ndarray, query: np.ndarray, k: int) -> Any:
    tree = module.KDTree(n_neighbors=k, metric="L2", radius=1.0)
    tree.fit(cloud)
    return tree.kneighbors(query, n_jobs=torch.get_num_threads())


def _open3d(module: Any, cloud: np.ndarray, query: np.ndarray, k: int, radius: float | None = None) -> Any:
    """The k nearest, or the k nearest within ``radius`` (open3d's hybrid search)."""
    points, centers = module.core.Tensor(cloud), module.core.Tensor(query)
    search = module.core.nns.NearestNeighborSearch(points)
    if radius is None:
        search.knn_index()
        return search.knn_search(centers, k)
    search.hybrid_index(radius)
    return search.hybrid_search(centers, radius, k)
