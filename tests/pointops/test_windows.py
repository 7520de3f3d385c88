"""Window pairs: the keys of the definition, no limit of keys, isolated scenes, bins that no rounding moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointops import _native
from pointops.windows import WindowPairs, position_bins, table_length, window_pairs, window_pairs_reference


def cloud(*sizes: int, seed: int = 0, edge: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Points, ends and a sample of every eighth point."""
    random = torch.Generator().manual_seed(seed)
    xyz = edge * torch.rand(sum(sizes), 3, generator=random) * torch.tensor([1.0, 1.0, 0.5])
    return xyz, torch.tensor(sizes).cumsum(0), torch.arange(0, sum(sizes), 8)


def rows(pairs: WindowPairs) -> list[list[int]]:
    return [part.tolist() for part in pairs.key.split(torch.diff(pairs.ends, prepend=torch.zeros(1).long()).tolist())]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("origin", ["scene", "batch"])
def test_pairs_equal_the_definition(shifted: bool, origin: str):
    arguments = (*cloud(130, 1, 70), 0.4, 0.025)
    fast = window_pairs(*arguments, shifted=shifted, origin=origin)
    slow = window_pairs_reference(*arguments, shifted=shifted, origin=origin)
    assert torch.equal(fast.ends, slow.ends)
    assert torch.equal(fast.key, slow.key)
    assert torch.equal(fast.bins, slow.bins)


def test_a_query_sees_its_own_window_and_sampled_points_of_the_large_one():
    # along x from the minimum: 0, 0.8, 1.4, 2.4; small cells of 1 m: a b | c | d, large ones of 2 m: a b c | d
    xyz = torch.tensor([[0.1, 0, 0], [0.9, 0, 0], [1.5, 0, 0], [2.5, 0, 0]])
    pairs = window_pairs(xyz, torch.tensor([4]), torch.tensor([1, 2]), 1.0, 0.1)
    assert rows(pairs) == [[0, 1, 2], [0, 1, 2], [2, 1], [3]]
    # shifted by half an edge, small: 0.5, 1.3, 1.9, 2.9: a | b c | d; large: 1, 1.8, 2.4, 3.4: a b | c d
    moved = window_pairs(xyz, torch.tensor([4]), torch.tensor([1, 2]), 1.0, 0.1, shifted=True)
    assert rows(moved) == [[0, 1], [1, 2], [1, 2], [3, 2]]


def test_every_point_is_its_own_key_and_no_key_repeats():
    pairs = window_pairs(*cloud(300), 0.3, 0.02)
    for query, keys in enumerate(rows(pairs)):
        assert query in keys
        assert len(set(keys)) == len(keys)


def test_a_window_of_two_thousand_points_is_no_limit():
    xyz = 0.1 * torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    pairs = window_pairs(xyz, torch.tensor([2000]), torch.arange(10), 0.2, 0.0125)
    assert pairs.key.shape == (4_000_000,)


def test_windows_of_a_scene_do_not_depend_on_batch_mates_unless_asked():
    xyz, ends, sampled = cloud(80, 90)
    other = xyz[80:] - xyz[80:].amin(0) + 5.03
    joined = torch.cat([xyz[:80], other])
    alone = window_pairs(other, torch.tensor([90]), torch.arange(0, 90, 8), 0.4, 0.025)
    for origin, equal in (("scene", True), ("batch", False)):
        both = window_pairs(
            joined, ends, torch.cat([sampled[:10], torch.arange(0, 90, 8) + 80]), 0.4, 0.025, origin=origin
        )
        assert (rows(both)[80:] == [[key + 80 for key in keys] for keys in rows(alone)]) is equal


def test_joined_lists_equal_the_lists_of_the_joined_batch():
    xyz, ends, _ = cloud(60, 50)
    sampled = [torch.arange(0, 60, 7), torch.arange(0, 50, 7)]
    parts = [
        window_pairs(part, torch.tensor([len(part)]), own, 0.4, 0.025)
        for part, own in zip((xyz[:60], xyz[60:]), sampled, strict=True)
    ]
    joined = WindowPairs.join(parts, [0, 60])
    whole = window_pairs(xyz, ends, torch.cat([sampled[0], sampled[1] + 60]), 0.4, 0.025)
    assert torch.equal(joined.ends, whole.ends)
    assert torch.equal(joined.key, whole.key)
    assert torch.equal(joined.bins, whole.bins)


def test_bins_are_those_of_whole_numbers():
    # window 0.16, bins of 0.01: no displacement is bin 31; 1e-4 m is bin 32; the ends are clamped to the table
    xyz = torch.tensor([[0.0, 0, 0], [0.0001, 0, 0], [0.31999, 0, 0], [0.01, 0, 0]])
    key = torch.tensor([0, 1, 2, 3])
    bins = position_bins(xyz, torch.tensor([4, 4, 4, 4]), key, 0.16, 0.01)
    assert bins[:, 0].tolist() == [31, 31, 0, 30]
    assert bins[:, 1].tolist() == [31] * 4
    back = position_bins(xyz, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 0]), 0.16, 0.01)
    assert back[:, 0].tolist() == [32, 63, 32]


@pytest.mark.parametrize(
    ("window", "quant", "length"), [(0.16, 0.01, 64), (1.28, 0.08, 64), (0.1, 0.005, 80), (0.2, 0.01, 80)]
)
def test_tables_have_the_published_length(window: float, quant: float, length: int):
    assert table_length(window, quant) == length


def test_bad_input_is_refused():
    xyz, ends, sampled = cloud(20)
    with pytest.raises(ValueError, match="origin"):
        window_pairs(xyz, ends, sampled, 0.4, 0.025, origin="room")
    with pytest.raises(ValueError, match="sampled"):
        window_pairs(xyz, ends, torch.tensor([20]), 0.4, 0.025)
    with pytest.raises(ValueError, match="bins"):
        window_pairs(xyz, ends, sampled, 0.4, 0.001)
    with pytest.raises(ValueError, match="offset"):
        window_pairs(xyz, ends - 1, sampled, 0.4, 0.025)


@pytest.mark.parametrize("shifted", [False, True])
def test_the_kernel_writes_the_same_pairs_as_plain_torch(kernels, threads, monkeypatch, shifted: bool):
    arguments = (*cloud(300, 2, 0, 120), 0.4, 0.025)
    fast = window_pairs(*arguments, shifted=shifted)
    monkeypatch.setattr(_native, "library", lambda: None)
    slow = window_pairs(*arguments, shifted=shifted)
    assert torch.equal(fast.ends, slow.ends)
    assert torch.equal(fast.key, slow.key)
    assert torch.equal(fast.bins, slow.bins)
