"""Submanifold convolution: the table finds every neighbor, the product is the definition, gradients included."""

from __future__ import annotations

import pytest
import torch

from pointops import _native
from pointops.submanifold import (
    submanifold_convolution,
    submanifold_convolution_reference,
    submanifold_neighbors,
    submanifold_neighbors_reference,
)


def voxels(count: int = 400, side: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two scenes of distinct cells in an order of no meaning."""
    random = torch.Generator().manual_seed(seed)
    scenes = [torch.randint(0, side, (count, 3), generator=random).unique(dim=0) for _ in range(2)]
    scenes = [scene[torch.randperm(len(scene), generator=random)] for scene in scenes]
    return torch.cat(scenes), torch.tensor([len(scenes[0]), len(scenes[0]) + len(scenes[1])])


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_table_is_what_looking_up_every_neighbor_finds(kernel):
    cells, offset = voxels()
    assert submanifold_neighbors(cells, offset, kernel).equal(submanifold_neighbors_reference(cells, offset, kernel))


def test_neighbors_at_the_edge_of_the_numbers_do_not_wrap_around():
    ends = torch.tensor([[0, 0, 0], [0, 0, 65535], [0, 1, 0], [0, 65535, 65535], [1, 0, 0], [65535, 65535, 65535]])
    offset = torch.tensor([6])
    assert submanifold_neighbors(ends, offset).equal(submanifold_neighbors_reference(ends, offset))


def test_a_scene_does_not_see_its_batch_mates():
    cells, offset = voxels()
    first = int(offset[0])
    alone = submanifold_neighbors(cells[:first], offset[:1])
    assert submanifold_neighbors(cells, offset)[:first].equal(alone)


def test_an_empty_batch_and_an_empty_scene_have_tables():
    nothing = torch.empty(0, 3, dtype=torch.int64)
    assert submanifold_neighbors(nothing, torch.tensor([0])).shape == (0, 27)
    feat = submanifold_convolution(torch.rand(0, 2), torch.empty(0, 27, dtype=torch.int32), torch.rand(27, 2, 4))
    assert feat.shape == (0, 4)


def test_a_dense_block_is_torchs_own_convolution():
    cells = torch.cartesian_prod(*[torch.arange(6)] * 3)
    random = torch.Generator().manual_seed(0)
    feat = torch.rand(216, 5, generator=random, dtype=torch.float64)
    weight = torch.rand(27, 5, 7, generator=random, dtype=torch.float64)
    table = submanifold_neighbors(cells, torch.tensor([216]))
    image, kernel = feat.T.view(1, 5, 6, 6, 6), weight.view(3, 3, 3, 5, 7).permute(4, 3, 0, 1, 2)
    expected = torch.nn.functional.conv3d(image, kernel, padding=1).view(7, 216).T
    torch.testing.assert_close(submanifold_convolution(feat, table, weight), expected)


@pytest.mark.parametrize("kernel", [3, 5])
def test_the_fast_form_is_the_definition_with_gradients(kernel):
    cells, offset = voxels(6000, 24)  # more than one block of voxels
    random = torch.Generator().manual_seed(1)
    table = submanifold_neighbors(cells, offset, kernel)
    feat = torch.rand(len(cells), 6, generator=random, dtype=torch.float64).requires_grad_()
    weight = torch.rand(kernel**3, 6, 4, generator=random, dtype=torch.float64).requires_grad_()
    change = torch.rand(len(cells), 4, generator=random, dtype=torch.float64)
    found = submanifold_convolution(feat, table, weight)
    meant = submanifold_convolution_reference(feat, table, weight)
    torch.testing.assert_close(found, meant, rtol=1e-10, atol=1e-10)
    for ours, its in zip(
        torch.autograd.grad(found, (feat, weight), change),
        torch.autograd.grad(meant, (feat, weight), change),
        strict=True,
    ):
        torch.testing.assert_close(ours, its, rtol=1e-10, atol=1e-10)


def test_gradients_and_their_gradients_are_those_of_finite_differences():
    cells, offset = voxels(30, 4)
    table = submanifold_neighbors(cells, offset)
    random = torch.Generator().manual_seed(2)
    feat = torch.rand(len(cells), 2, generator=random, dtype=torch.float64).requires_grad_()
    weight = torch.rand(27, 2, 3, generator=random, dtype=torch.float64).requires_grad_()

    def convolve(feat, weight):
        return submanifold_convolution(feat, table, weight)

    assert torch.autograd.gradcheck(convolve, (feat, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(convolve, (feat, weight), fast_mode=True)


def test_half_precision_features_meet_wider_weights():
    cells, offset = voxels(50, 4)
    table = submanifold_neighbors(cells, offset)
    feat, weight = torch.rand(len(cells), 4), torch.rand(27, 4, 4)
    assert submanifold_convolution(feat.bfloat16(), table, weight).dtype == torch.float32
    assert submanifold_convolution(feat.bfloat16(), table, weight.bfloat16()).dtype == torch.bfloat16


def test_what_is_remembered_of_a_table_goes_when_it_changes():
    cells, offset = voxels(50, 4)
    table = submanifold_neighbors(cells, offset)
    feat, weight = torch.rand(len(cells), 4), torch.rand(27, 4, 4)
    before = submanifold_convolution(feat, table, weight)
    table[:, 3] = -1
    after = submanifold_convolution(feat, table, weight)
    torch.testing.assert_close(after, submanifold_convolution_reference(feat, table, weight))
    assert not torch.equal(before, after)
    with torch.inference_mode():
        torch.testing.assert_close(submanifold_convolution(feat, table.clone(), weight), after)


@pytest.mark.parametrize(("channels", "width", "kernel"), [(5, 32, 3), (32, 96, 3), (64, 64, 3), (6, 64, 5)])
def test_the_wide_kernel_is_the_definition_with_gradients(channels, width, kernel):
    if not _native.has("pointops_submanifold"):
        pytest.skip("these kernels are built for AVX-512 only")
    cells, offset = voxels(1500, 14)  # more than one piece of voxels, and rests of every size
    table = submanifold_neighbors(cells, offset, kernel)
    random = torch.Generator().manual_seed(0)
    feat = torch.randn(len(cells), channels, generator=random, requires_grad=True)
    weight = torch.randn(kernel**3, channels, width, generator=random, requires_grad=True)
    grad = torch.randn(len(cells), width, generator=random)
    found, exact = [], []
    for run, precise, kept in (
        (submanifold_convolution, False, found),
        (submanifold_convolution_reference, True, exact),
    ):
        own = [(t.double() if precise else t).detach().requires_grad_() for t in (feat, weight)]
        out = run(own[0], table, own[1])
        kept += [out, *torch.autograd.grad(out, own, grad.to(out.dtype))]
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-3)


def test_threads_change_no_bit():
    cells, offset = voxels(3000, 20)
    table = submanifold_neighbors(cells, offset)
    feat, weight = torch.rand(len(cells), 32), torch.rand(27, 32, 64)
    one = submanifold_convolution(feat, table, weight)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(one, submanifold_convolution(feat, table, weight))
    finally:
        torch.set_num_threads(before)


def test_rows_that_do_not_exist_are_refused():
    table = torch.zeros(4, 27, dtype=torch.int32)
    table[2, 5] = 4
    with pytest.raises(ValueError, match="rows that exist"):
        submanifold_convolution(torch.rand(4, 32), table, torch.rand(27, 32, 32))


def test_results_are_the_same_bits_every_time():
    cells, offset = voxels(3000, 20)
    table = submanifold_neighbors(cells, offset)
    feat, weight = torch.rand(len(cells), 8), torch.rand(27, 8, 8)
    assert submanifold_convolution(feat, table, weight).equal(submanifold_convolution(feat, table, weight))


@pytest.mark.parametrize(
    ("cells", "kernel", "message"),
    [
        ([[0, 0, 0], [0, 0, 0]], 3, "share a cell"),
        ([[0, 0, -1]], 3, r"0\.\.65535"),
        ([[0, 65536, 0]], 3, r"0\.\.65535"),
        ([[0, 0, 0]], 2, "odd"),
    ],
)
def test_bad_cells_are_refused(cells, kernel, message):
    with pytest.raises(ValueError, match=message):
        submanifold_neighbors(torch.tensor(cells), torch.tensor([len(cells)]), kernel)


def test_the_same_cell_in_two_scenes_is_no_collision():
    assert int((submanifold_neighbors(torch.zeros(2, 3, dtype=torch.int32), torch.tensor([1, 2])) >= 0).sum()) == 2


def test_bad_shapes_are_refused():
    table = torch.zeros(5, 27, dtype=torch.int32)
    with pytest.raises(ValueError, match="weight must be"):
        submanifold_convolution(torch.rand(5, 4), table, torch.rand(27, 3, 4))
    with pytest.raises(ValueError, match="one per voxel"):
        submanifold_convolution(torch.rand(4, 4), table, torch.rand(27, 4, 4))
    with pytest.raises(ValueError, match="table must lie"):
        submanifold_convolution(torch.rand(5, 4), table + 5, torch.rand(27, 4, 4))
    with pytest.raises(ValueError, match="integers"):
        submanifold_neighbors(torch.rand(5, 3), torch.tensor([5]))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gpu_agrees(dtype):
    cells, offset = voxels(20000, 40)
    table = submanifold_neighbors(cells, offset)
    assert submanifold_neighbors(cells.cuda(), offset.cuda()).cpu().equal(table)
    feat, weight = torch.randn(len(cells), 32), torch.randn(27, 32, 32) / 16
    here = submanifold_convolution(feat.double(), table, weight.double())
    there = submanifold_convolution(feat.to("cuda", dtype), table.cuda(), weight.to("cuda", dtype))
    tolerance = 1e-2 if dtype == torch.float32 else 1e-1
    torch.testing.assert_close(there.cpu().double(), here, rtol=tolerance, atol=tolerance)
